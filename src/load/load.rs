use std::sync::Arc;

use super::{Gauge, Now, decayed::lesser};
use crate::outcome::Meter;

/// Estimates how loaded an endpoint is.
pub trait Load {
    /// Returns the load of the endpoint.
    ///
    /// A pick calls this for each endpoint that it considers, so it must be cheap. A load that does
    /// not use `now` costs no clock read.
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score;

    /// Returns a meter that learns from finished attempts. Called once for each new endpoint.
    /// Default: no meter.
    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// A load: the expected cost of one more request, and the number of requests before it. A negative
/// value, or one that is not a number, counts as the highest.
///
/// The two are separate because a weight divides the backlog (an endpoint of weight 2 serves two
/// requests at a time) but does not make the endpoint faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The cost of one request, in any unit that is the same for all endpoints of a strategy.
    pub cost: f64,
    /// Requests that the endpoint serves, or that wait there.
    pub backlog: f64,
}

impl Score {
    /// Replaces values that are negative or not a number by the highest, so that comparisons are
    /// safe.
    #[inline]
    pub(crate) fn sanitized(self) -> Self {
        let sanitize = |value: f64| {
            if value >= 0.0 { value.min(f64::MAX) } else { f64::MAX }
        };
        Self { cost: sanitize(self.cost), backlog: sanitize(self.backlog) }
    }

    /// Returns the load with one more request, safe to compare.
    #[inline]
    pub(crate) fn with_one_more(self) -> f64 {
        // One test of both signs; two comparisons with 0 would cost as much as the rest.
        if (self.cost.to_bits() | self.backlog.to_bits()) >> 63 != 0 {
            return self.with_one_more_of_signed();
        }
        // What is not a number is not below the highest.
        lesser(self.cost * (self.backlog + 1.0), f64::MAX)
    }

    /// The same for values of which one is below 0, or -0.
    #[cold]
    fn with_one_more_of_signed(self) -> f64 {
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
