use std::sync::Arc;

use super::{Gauge, Load, Now, Score};
use crate::{
    endpoint::EndpointStats,
    outcome::{Meter, Sample, Start},
};

/// Keeps any other load apart by class of request, where endpoints serve requests that have little in
/// common: a route that takes seconds must not make an endpoint look slow for one that takes
/// milliseconds.
///
/// A request's class is a small number that the strategy wrapper
/// [`Classified`](crate::strategy::Classified) finds for it. Each class has figures of its own at each
/// endpoint: latency, failures, and requests in flight. The backlog counts the requests of all classes.
#[derive(Clone, Copy, Debug)]
pub struct PerClass<L> {
    inner: L,
    classes: usize,
}

impl<L> PerClass<L> {
    /// For classes 0 to `classes` - 1; higher ones count as the last. At least one.
    pub fn new(classes: u32, inner: L) -> Self {
        Self { inner, classes: classes.max(1) as usize }
    }
}

impl<L: Load> Load for PerClass<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let class = gauge.meter::<Classes>().and_then(|classes| classes.stats(gauge.class()));
        let Some(stats) = class else {
            return self.inner.score(gauge, now);
        };
        let score = self.inner.score(&gauge.with_stats(stats), now);
        Score { backlog: score.backlog.max(gauge.stats().outstanding().into()), ..score }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        let stats = (0..self.classes).map(|_| EndpointStats::new()).collect();
        Some(Arc::new(Classes { stats, inner: self.inner.meter() }))
    }
}

/// The figures of each class at one endpoint.
#[derive(Debug)]
struct Classes {
    stats: Box<[EndpointStats]>,
    inner: Option<Arc<dyn Meter>>,
}

impl Classes {
    fn stats(&self, class: u32) -> Option<&EndpointStats> {
        self.stats.get(class as usize).or_else(|| self.stats.last())
    }
}

impl Meter for Classes {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let Some(class) = self.stats(sample.start().class()) else { return };
        class.end(sample.outcome());
        if let Some(inner) = &self.inner {
            inner.record(class, &sample.rebased(stats, class));
        }
    }

    fn start(&self, stats: &EndpointStats, start: Start) {
        let Some(class) = self.stats(start.class()) else { return };
        class.begin();
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_starts()) {
            inner.start(class, start.rebased(stats, class));
        }
    }

    fn first_byte(&self, stats: &EndpointStats, start: Start) {
        let Some(class) = self.stats(start.class()) else { return };
        if let Some(inner) = &self.inner {
            inner.first_byte(class, start.rebased(stats, class));
        }
    }

    fn needs_first_bytes(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_first_bytes())
    }

    fn needs_starts(&self) -> bool {
        true
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}
