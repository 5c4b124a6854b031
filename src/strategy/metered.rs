use std::sync::Arc;

use crate::{load::Load, outcome::Meter};

/// A load that a strategy and its pickers share, with the meter that serves all endpoints if one can.
#[derive(Debug)]
pub(super) struct Metered<L> {
    load: Arc<L>,
    meter: Option<Arc<dyn Meter>>,
}

impl<L: Load> Metered<L> {
    pub(super) fn new(load: L) -> Self {
        let meter = load.meter().filter(|meter| meter.is_stateless());
        Self { load: Arc::new(load), meter }
    }

    pub(super) fn share(&self) -> Arc<L> {
        Arc::clone(&self.load)
    }

    /// A meter for one more endpoint.
    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.meter.clone().or_else(|| self.load.meter())
    }
}

impl<L> Clone for Metered<L> {
    fn clone(&self) -> Self {
        Self { load: Arc::clone(&self.load), meter: self.meter.clone() }
    }
}
