//! A `tracing` subscriber that collects what is logged, as a subscriber of a naive program would write
//! it, and the spans.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Events as text: the message, and ` name=value` for each field, nothing of it escaped.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    events: Arc<Mutex<Vec<String>>>,
    spans: Arc<Mutex<Vec<CollectedSpan>>>,
}

/// A span, and its fields so far as text.
#[derive(Clone, Debug)]
pub struct CollectedSpan {
    pub id: u64,
    pub parent: Option<u64>,
    pub name: &'static str,
    pub fields: BTreeMap<&'static str, String>,
}

impl CollectedSpan {
    /// The value of a field, if it has one.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }
}

/// Collects until it is dropped.
#[derive(Debug)]
pub struct Collecting;

thread_local! {
    static CURRENT: RefCell<Option<Logs>> = const { RefCell::new(None) };
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
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
        std::mem::take(&mut self.events.lock().unwrap())
    }

    /// The spans of the library so far, in the order in which they were created.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.spans.lock().unwrap().clone()
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
        logs.events.lock().unwrap().push(text.0);
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(logs) = CURRENT.with_borrow(Clone::clone) {
            let contextual = || ENTERED.with_borrow(|entered| entered.last().copied());
            let parent = attributes.parent().map(Id::into_u64).or_else(contextual);
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let name = attributes.metadata().name();
            let span = CollectedSpan { id, parent, name, fields: fields.0 };
            logs.spans.lock().unwrap().push(span);
        }
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let Some(logs) = CURRENT.with_borrow(Clone::clone) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        let mut spans = logs.spans.lock().unwrap();
        if let Some(span) = spans.iter_mut().find(|span| span.id == id.into_u64()) {
            span.fields.extend(fields.0);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, _: &Id) {
        ENTERED.with_borrow_mut(|entered| _ = entered.pop());
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
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
