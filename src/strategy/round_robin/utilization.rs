use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    endpoint::EndpointStats,
    load::Decayed,
    outcome::{LoadReport, Meter, Sample},
    strategy::Candidate,
};

/// Keeps the utilization that an endpoint last reported, and passes everything on to an inner
/// meter.
#[derive(Debug)]
pub(crate) struct UtilizationMeter {
    /// Not a number before the first report: a utilization may be 0.
    last: AtomicU64,
    metrics: Arc<[String]>,
    inner: Option<Arc<dyn Meter>>,
}

impl UtilizationMeter {
    pub(crate) fn new(metrics: Arc<[String]>, inner: Option<Arc<dyn Meter>>) -> Self {
        Self { last: Decayed::empty_cell(), metrics, inner }
    }

    /// Returns the utilization that the endpoint last reported, unless that is older than `expiry`.
    pub(crate) fn fresh(candidate: &Candidate, now: Instant, expiry: Duration) -> Option<f64> {
        let meter: &Self = candidate.meter()?;
        let last = Decayed::load(&meter.last);
        let age = last.seconds_since(candidate.stats().age(now));
        (!last.value.is_nan() && age <= expiry.as_secs_f64()).then(|| last.value.into())
    }
}

impl Meter for UtilizationMeter {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn report(&self, stats: &EndpointStats, report: &LoadReport, now: Instant) {
        if let Some(utilization) = report.utilization(&self.metrics) {
            let age = stats.age(now);
            Decayed::update(&self.last, |_| Some(Decayed::new(utilization as f32, age)));
        }
        if let Some(inner) = self.inner.as_ref().filter(|inner| inner.needs_reports()) {
            inner.report(stats, report, now);
        }
    }

    fn needs_reports(&self) -> bool {
        true
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}
