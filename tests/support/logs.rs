//! A `tracing` subscriber that collects what is logged, as a subscriber of a naive program would write
//! it.

use std::{
    cell::RefCell,
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Events as text: the message, and ` name=value` for each field, nothing of it escaped.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Vec<String>>>);

/// Collects until it is dropped.
#[derive(Debug)]
pub struct Collecting;

thread_local! {
    static CURRENT: RefCell<Option<Logs>> = const { RefCell::new(None) };
}

impl Drop for Collecting {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

impl Logs {
    /// Collects the events of this thread until the guard is dropped.
    ///
    /// One subscriber serves all threads: a subscriber for each would race with events that other
    /// tests cause for the first time, which `tracing` then remembers as unwanted.
    pub fn collect() -> (Self, Collecting) {
        let _ = tracing::subscriber::set_global_default(ByThread);
        let logs = Self::default();
        CURRENT.set(Some(logs.clone()));
        (logs, Collecting)
    }

    /// The events of the library so far, which are forgotten.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct ByThread;

impl Subscriber for ByThread {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tower_lb")
    }

    fn event(&self, event: &Event<'_>) {
        let Some(logs) = CURRENT.with_borrow(Clone::clone) else { return };
        let mut text = Text::default();
        event.record(&mut text);
        logs.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        if field.name() == "message" {
            self.0.insert_str(0, &value.to_string());
        } else {
            write!(self.0, " {field}={value}").unwrap();
        }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, value);
    }
}
