use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::metrics::{Key, Label, Level, Metadata, Recorder, Unit, with_recorder};

use super::{
    CATALOG, Kind, Metric,
    project::project,
    series::{Labels, SeriesSet, Value},
    text,
};
use crate::{
    observe::Registry,
    sync::{Mutex, lock},
};

/// Which series the endpoints of a balancer have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointSeries {
    /// One for each endpoint, with its zone and tier. Endpoints beyond the first `max`, in the
    /// order of [`Status`](crate::balance::Status), share one named `other`.
    Each {
        /// The most endpoints of a balancer that have series of their own.
        max: usize,
    },
    /// One for each zone. Zones of one name in different regions share a series.
    Zones,
    /// One for each tier.
    Tiers,
    /// One for all endpoints.
    None,
}

impl Default for EndpointSeries {
    /// One for each of the first 100 endpoints.
    fn default() -> Self {
        Self::Each { max: 100 }
    }
}

/// Reads the components of a [`Registry`] as metrics.
///
/// An exporter remembers the last reading, so that counters go on when an endpoint comes back and
/// counts from 0. The counters of a removed endpoint disappear after [`grace`](Self::grace), and
/// what the endpoint has counted since the last reading is lost. An exporter takes about 2 KB for
/// each endpoint, and 4 KB more if durations are measured.
///
/// Clones are handles to one exporter. Concurrent calls wait for each other, and those that came
/// before a reading began share its text.
#[derive(Clone, Debug)]
pub struct Exporter {
    registry: Registry,
    endpoint_series: EndpointSeries,
    grace: Duration,
    readings: Arc<Readings>,
}

#[derive(Debug, Default)]
struct Readings {
    /// The number of readings for a text that have begun.
    begun: AtomicU64,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    series: SeriesSet,
    /// The latest text, and the number of its reading.
    text: String,
    reading: u64,
}

/// The most values that are passed to a recorder's histogram at a time. Recorders store each one.
const MAX_SAMPLES: u64 = 100_000;

static METADATA: Metadata<'static> = Metadata::new("tower_lb", Level::INFO, Some(module_path!()));

impl Exporter {
    /// The content type of the text that [`render`](Self::render) returns.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Creates an exporter of the components of `registry`.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            endpoint_series: EndpointSeries::default(),
            grace: Duration::from_secs(300),
            readings: Arc::default(),
        }
    }

    /// Sets which series endpoints have. Default: one for each of the first 100. The result has
    /// read nothing yet.
    #[must_use]
    pub fn endpoint_series(self, series: EndpointSeries) -> Self {
        Self { endpoint_series: series, readings: Arc::default(), ..self }
    }

    /// Sets how long the counters of a component that is gone are kept. Default 5 min, which is
    /// longer than the usual interval between scrapes. The result has read nothing yet.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, readings: Arc::default(), ..self }
    }

    /// Returns all metrics in the text format of Prometheus. Names longer than 256 bytes are cut.
    #[must_use]
    pub fn render(&self) -> String {
        let arrived = self.readings.begun.load(Ordering::SeqCst);
        let mut latest = lock(&self.readings.latest);
        // Many scrapes at once would each wait for all others to read the same again.
        if latest.reading <= arrived {
            latest.reading = self.readings.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.update(&mut latest.series);
            latest.text = text::write(&latest.series);
        }
        latest.text.clone()
    }

    /// Passes all metrics to the recorder of the crate `metrics`. Call it before each scrape, or
    /// every few seconds; without a recorder it does nothing.
    ///
    /// Use one exporter either for `render` or for `publish`: each call adds what was counted since
    /// the last one, and what was counted before there was a recorder is not made up for. A
    /// histogram gets at most 100 000 values at a time, in proportion, because recorders store each
    /// one. The gauges of an endpoint that is gone are set to 0; the recorder removes series, if it
    /// can.
    pub fn publish(&self) {
        let Latest { series, .. } = &mut *lock(&self.readings.latest);
        self.update(series);
        with_recorder(|recorder| {
            CATALOG.iter().for_each(|metric| describe(recorder, metric));
            for (labels, series) in series.iter() {
                record(recorder, series.metric, labels, &series.added, &series.value);
            }
            // Recorders keep the last value of a gauge that is not set any more.
            for (metric, labels) in series.vanished() {
                recorder.register_gauge(&key(metric, labels), &METADATA).set(0.0);
            }
        });
    }

    fn update(&self, series: &mut SeriesSet) {
        let readings = project(&self.registry.report(), self.endpoint_series);
        series.update(readings, self.grace);
    }
}

fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let (name, help) = (metric.name.into(), metric.help.into());
    let unit = metric.name.contains("_seconds").then_some(Unit::Seconds);
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, unit, help),
        Kind::Gauge => recorder.describe_gauge(name, unit, help),
        Kind::Histogram => recorder.describe_histogram(name, unit, help),
    }
}

fn record(recorder: &dyn Recorder, metric: &Metric, labels: &Labels, added: &Value, now: &Value) {
    let key = key(metric, labels);
    match (added, now) {
        // Nothing is also something: an idle series stays, and a new one begins at 0.
        (Value::Counter(added), _) => {
            recorder.register_counter(&key, &METADATA).increment(*added);
        }
        (Value::Time(added), Value::Time(total)) => {
            // The counters of the crate are whole numbers. What is left of a second comes later.
            let seconds = |nanos| Duration::from_nanos(nanos).as_secs();
            let seconds = seconds(*total) - seconds(total.saturating_sub(*added));
            recorder.register_counter(&key, &METADATA).increment(seconds);
        }
        (_, Value::Gauge(now) | Value::Highest(now) | Value::Lowest(now)) => {
            recorder.register_gauge(&key, &METADATA).set(*now);
        }
        (Value::Histogram(added), _) => {
            let histogram = recorder.register_histogram(&key, &METADATA);
            let total = added.count().max(1);
            let share = |count: u64| {
                (u128::from(count) * u128::from(total.min(MAX_SAMPLES)) / u128::from(total)) as u64
            };
            // The slowest few would be rounded to none if each bucket were rounded by itself.
            let mut below = 0;
            for (duration, count) in added.buckets().filter(|(_, count)| *count > 0) {
                let samples = share(below + count) - share(below);
                below += count;
                if samples > 0 {
                    histogram.record_many(duration.as_secs_f64(), samples as usize);
                }
            }
        }
        _ => {}
    }
}

fn key(metric: &Metric, labels: &Labels) -> Key {
    let labels = labels.iter().map(|(name, value)| Label::new(*name, Arc::clone(value)));
    Key::from_parts(metric.name, labels.collect::<Vec<_>>())
}
