use std::sync::Arc;

use super::{Gauge, Now};
use crate::outcome::Meter;

/// Estimates how loaded an endpoint is.
pub trait Load {
    /// The endpoint's load.
    ///
    /// Called for each endpoint that a pick looks at: it must be cheap. A load that doesn't ask `now`
    /// for the time costs no clock read.
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score;

    /// What learns from finished attempts; called once for each new endpoint. Default: nothing does.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// A load: what one more request is expected to cost, and how many are before it. A negative one, or
/// one that is no number, counts as the highest.
///
/// They are kept apart because a weight divides the backlog (an endpoint of weight 2 works off two
/// requests at a time) but doesn't make the endpoint faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Cost of one request in any unit, the same for all endpoints of a strategy.
    pub cost: f64,
    /// Requests that are served or wait there already.
    pub backlog: f64,
}

impl Score {
    /// Makes comparisons safe: what is negative or not a number is the worst there is.
    #[inline]
    pub(crate) fn sanitized(self) -> Self {
        let clean = |value: f64| {
            if value >= 0.0 { value.min(f64::MAX) } else { f64::MAX }
        };
        Self { cost: clean(self.cost), backlog: clean(self.backlog) }
    }

    /// The load with one more request on top, safe to compare.
    #[inline]
    pub(crate) fn with_one_more(self) -> f64 {
        let valid = self.cost >= 0.0 && self.backlog >= 0.0;
        if valid { self.cost * (self.backlog + 1.0) } else { f64::MAX }
    }
}

impl<L: Load + ?Sized> Load for Arc<L> {
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        (**self).score(gauge, now)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        (**self).meter()
    }
}
