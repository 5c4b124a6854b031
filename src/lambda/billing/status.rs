use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::report::Report;
use crate::{escape::Escaped, named::SharedName};

/// The counters of a [`BillingLayer`](crate::lambda::BillingLayer), over all of its services.
///
/// They come from the reports of Lambda in the functions' logs. Events, dry runs and invocations
/// that failed with an error have no report.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BillingStatus {
    /// The name of the layer.
    pub name: Arc<str>,
    /// Invocations whose report was read. All other fields but `unknown` concern these.
    pub invocations: u64,
    /// Responses without a valid report.
    pub unknown: u64,
    /// Invocations for which an environment was started, or restored from a snapshot.
    pub cold_starts: u64,
    /// How long the start of these environments took in total. Serialized in seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub cold_start_time: Duration,
    /// The billed time in total. Serialized in seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of"))]
    pub billed_time: Duration,
    /// The billed time multiplied by the memory of the function, in gigabytes (1024 MB) times
    /// seconds. This times the price of a gigabyte-second, plus the price of a request for each
    /// invocation, is what they cost.
    pub gb_seconds: f64,
    /// The largest memory that an invocation used, in MB.
    pub max_memory_mb: u64,
}

impl fmt::Display for BillingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, invocations, unknown, cold_starts, billed_time, .. } = self;
        let (gb_seconds, max_memory_mb) = (self.gb_seconds, self.max_memory_mb);
        write!(
            f,
            "{}: {invocations} invocations, {cold_starts} cold starts, {billed_time:?} billed, \
             {gb_seconds:.3} GB-seconds, at most {max_memory_mb} MB used; {unknown} without report",
            Escaped(name),
        )
    }
}

/// The atomics behind a [`BillingStatus`].
#[derive(Debug)]
pub(super) struct BillingCounters {
    pub(super) name: SharedName,
    invocations: AtomicU64,
    unknown: AtomicU64,
    cold_starts: AtomicU64,
    cold_start_micros: AtomicU64,
    billed_micros: AtomicU64,
    mb_millis: AtomicU64,
    max_memory_mb: AtomicU64,
}

impl BillingCounters {
    pub(super) fn new() -> Self {
        let new = || AtomicU64::new(0);
        Self {
            name: SharedName::new("billing"),
            invocations: new(),
            unknown: new(),
            cold_starts: new(),
            cold_start_micros: new(),
            billed_micros: new(),
            mb_millis: new(),
            max_memory_mb: new(),
        }
    }

    pub(super) fn record(&self, report: Option<Report>) {
        let Some(report) = report else {
            self.unknown.fetch_add(1, Relaxed);
            return;
        };
        // Conversions saturate.
        let micros = |millis: f64| (millis * 1e3) as u64;
        self.invocations.fetch_add(1, Relaxed);
        self.billed_micros.fetch_add(micros(report.billed_millis), Relaxed);
        self.mb_millis.fetch_add((report.memory_mb * report.billed_millis) as u64, Relaxed);
        self.max_memory_mb.fetch_max(report.max_memory_mb as u64, Relaxed);
        if let Some(init_millis) = report.init_millis {
            self.cold_starts.fetch_add(1, Relaxed);
            self.cold_start_micros.fetch_add(micros(init_millis), Relaxed);
        }
    }

    pub(super) fn status(&self) -> BillingStatus {
        let read = |count: &AtomicU64| count.load(Relaxed);
        BillingStatus {
            name: self.name.get(),
            invocations: read(&self.invocations),
            unknown: read(&self.unknown),
            cold_starts: read(&self.cold_starts),
            cold_start_time: Duration::from_micros(read(&self.cold_start_micros)),
            billed_time: Duration::from_micros(read(&self.billed_micros)),
            gb_seconds: read(&self.mb_millis) as f64 / (1024.0 * 1000.0),
            max_memory_mb: read(&self.max_memory_mb),
        }
    }
}
