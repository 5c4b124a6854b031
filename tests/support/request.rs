//! A request that can be repeated, and counts how often it was copied.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tower_lb::{
    outcome::{Attempts, Carry},
    retry::{RetrySafety, RetryableRequest},
};

#[derive(Clone, Debug)]
pub struct Query {
    retry_safety: RetrySafety,
    attempts: Option<Attempts>,
    copies: Arc<AtomicU32>,
}

impl Query {
    pub fn new(retry_safety: RetrySafety) -> Self {
        Self { retry_safety, attempts: None, copies: Arc::default() }
    }

    pub fn idempotent() -> Self {
        Self::new(RetrySafety::Idempotent)
    }

    pub fn copies(&self) -> Arc<AtomicU32> {
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

impl RetryableRequest for Query {
    fn retry_safety(&self) -> RetrySafety {
        self.retry_safety
    }

    fn try_clone(&self) -> Option<Self> {
        self.copies.fetch_add(1, Ordering::SeqCst);
        Some(self.clone())
    }
}
