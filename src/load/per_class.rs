use std::sync::Arc;

use super::{Gauge, Load, Now, Score};
use crate::{
    ConfigError,
    endpoint::EndpointStats,
    outcome::{Meter, Sample, Start},
};

/// Measures another load separately for each class of requests. A route that takes seconds then
/// does not make an endpoint look slow for a route that takes milliseconds.
///
/// The class of a request is a small number that the strategy wrapper
/// [`Classified`](crate::strategy::Classified) determines. Each class has its own statistics at
/// each endpoint: latency, failures, and requests in flight. The backlog counts the requests of all
/// classes.
#[derive(Clone, Copy, Debug)]
pub struct PerClass<L> {
    inner: L,
    classes: usize,
}

impl<L> PerClass<L> {
    /// Distinguishes the classes from 0 to `classes - 1`; a higher class counts as the last.
    ///
    /// # Errors
    ///
    /// Fails if `classes` is 0.
    pub fn new(classes: u32, inner: L) -> Result<Self, ConfigError> {
        ConfigError::if_zero("classes", classes.into())?;
        Ok(Self { inner, classes: classes as usize })
    }
}

impl<L: Load> Load for PerClass<L> {
    #[inline]
    fn score(&self, gauge: &Gauge<'_>, now: &mut Now) -> Score {
        let class = gauge.meter::<Classes>().and_then(|classes| classes.stats(gauge.class()));
        let Some(stats) = class else { return self.inner.score(gauge, now) };
        let score = self.inner.score(&gauge.with_stats(stats), now);
        Score { backlog: score.backlog.max(gauge.stats().outstanding().into()), ..score }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        let stats = (0..self.classes).map(|_| EndpointStats::new()).collect();
        Some(Arc::new(Classes { stats, inner: self.inner.meter() }))
    }
}

/// The statistics of each class at one endpoint.
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
