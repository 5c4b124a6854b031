//! A request that can be repeated, and counts how often it was copied.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tower_lb::{
    outcome::{Attempts, Carry},
    retry::{Repeat, Safety},
};

#[derive(Clone, Debug)]
pub(crate) struct Query {
    safety: Safety,
    attempts: Option<Attempts>,
    copies: Arc<AtomicU32>,
}

impl Query {
    pub(crate) fn new(safety: Safety) -> Self {
        Self { safety, attempts: None, copies: Arc::default() }
    }

    pub(crate) fn idempotent() -> Self {
        Self::new(Safety::Idempotent)
    }

    pub(crate) fn copies(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.copies)
    }
}

impl Carry for Query {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl Repeat for Query {
    fn safety(&self) -> Safety {
        self.safety
    }

    fn repeat(&self) -> Option<Self> {
        self.copies.fetch_add(1, Ordering::SeqCst);
        Some(self.clone())
    }
}
