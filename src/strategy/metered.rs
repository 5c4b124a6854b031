use std::sync::Arc;

use crate::{load::Load, outcome::Meter};

/// A load that a strategy shares with its pickers, and its meter if that has no state.
#[derive(Debug)]
pub(super) struct Metered<L> {
    load: Arc<L>,
    /// A meter without state serves all endpoints, so that it is allocated once.
    stateless_meter: Option<Arc<dyn Meter>>,
}

impl<L: Load> Metered<L> {
    pub(super) fn new(load: L) -> Self {
        let stateless_meter = load.meter().filter(|meter| meter.is_stateless());
        Self { load: Arc::new(load), stateless_meter }
    }

    pub(super) fn share(&self) -> Arc<L> {
        Arc::clone(&self.load)
    }

    /// Returns the meter for a new endpoint.
    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.stateless_meter.clone().or_else(|| self.load.meter())
    }
}

impl<L> Clone for Metered<L> {
    fn clone(&self) -> Self {
        Self { load: Arc::clone(&self.load), stateless_meter: self.stateless_meter.clone() }
    }
}
