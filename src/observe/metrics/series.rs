use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::Metric;
use crate::endpoint::Distribution;

/// The names and values of the labels of a series.
pub(super) type Labels = Vec<(&'static str, Arc<str>)>;

/// A value that a component has at one moment.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Counter(u64),
    /// A sum of times in nanoseconds, which is a counter in seconds.
    Time(u64),
    Gauge(f64),
    /// A gauge of which several readings are not added up.
    Longest(f64),
    Histogram(Distribution),
}

/// A value of one component. Several readings can belong to one series.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) metric: &'static Metric,
    pub(super) labels: Labels,
    /// Which of the components of the series has the value.
    pub(super) source: Arc<str>,
    pub(super) value: Value,
}

/// The series that were read so far.
///
/// What a component has counted is added to its series as the difference to the reading before.
/// So a series goes on when an endpoint is removed, or comes back and counts from 0.
#[derive(Debug, Default)]
pub(super) struct SeriesSet {
    series: BTreeMap<(&'static str, Labels), Series>,
    last: HashMap<SourceKey, Last>,
    /// How often the series were updated.
    round: u64,
}

/// A metric, the labels of a series, a source of that series, and the number of the component if
/// several have the same name.
type SourceKey = (&'static str, Labels, Arc<str>, u32);

#[derive(Debug)]
pub(super) struct Series {
    pub(super) metric: &'static Metric,
    /// The total of a counter or a histogram; the present value of a gauge.
    pub(super) value: Value,
    /// What was added by the latest readings.
    pub(super) added: Value,
    seen: Instant,
    round: u64,
}

#[derive(Debug)]
struct Last {
    value: Value,
    seen: Instant,
    round: u64,
}

impl SeriesSet {
    /// Adds new readings. Series without a reading for longer than `grace` are removed.
    pub(super) fn update(&mut self, readings: Vec<Reading>, grace: Duration) {
        let now = Instant::now();
        self.round += 1;
        let round = self.round;
        for series in self.series.values_mut() {
            series.added = zero(&series.value);
            if matches!(series.value, Value::Gauge(_) | Value::Longest(_)) {
                series.value = zero(&series.value);
            }
        }
        for Reading { metric, labels, source, value } in readings {
            let mut key = (metric.name, labels.clone(), source, 0);
            while self.last.get(&key).is_some_and(|last| last.round == round) {
                key.3 += 1;
            }
            let before = self.last.insert(key, Last { value: value.clone(), seen: now, round });
            let added = difference(&value, before.as_ref().map(|last| &last.value));
            let series = self.series.entry((metric.name, labels)).or_insert_with(|| Series {
                metric,
                value: zero(&value),
                added: zero(&value),
                seen: now,
                round,
            });
            (series.seen, series.round) = (now, round);
            add(&mut series.value, &added);
            add(&mut series.added, &added);
        }
        let is_fresh = |seen: Instant| now.saturating_duration_since(seen) <= grace;
        self.last.retain(|_, last| is_fresh(last.seen));
        // A gauge of an endpoint that is gone says nothing; a counter is still scraped for a while.
        self.series.retain(|_, series| match series.value {
            Value::Gauge(_) | Value::Longest(_) => series.round == round,
            Value::Counter(_) | Value::Time(_) | Value::Histogram(_) => is_fresh(series.seen),
        });
    }

    /// Iterates over the series, those of one metric one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Labels, &Series)> {
        self.series.iter().map(|((_, labels), series)| (labels, series))
    }
}

fn zero(value: &Value) -> Value {
    match value {
        Value::Counter(_) => Value::Counter(0),
        Value::Time(_) => Value::Time(0),
        Value::Gauge(_) => Value::Gauge(0.0),
        Value::Longest(_) => Value::Longest(0.0),
        Value::Histogram(_) => Value::Histogram(Distribution::default()),
    }
}

/// Returns what a reading adds to its series.
fn difference(now: &Value, before: Option<&Value>) -> Value {
    match (now, before) {
        // A value that has fallen is that of a component which counts from 0.
        (Value::Counter(now), Some(Value::Counter(before))) => {
            Value::Counter(now.checked_sub(*before).unwrap_or(*now))
        }
        (Value::Time(now), Some(Value::Time(before))) => {
            Value::Time(now.checked_sub(*before).unwrap_or(*now))
        }
        (Value::Histogram(now), Some(Value::Histogram(before))) => {
            Value::Histogram(now.since(before))
        }
        (now, _) => now.clone(),
    }
}

fn add(total: &mut Value, added: &Value) {
    match (total, added) {
        (Value::Counter(total), Value::Counter(added)) => *total = total.wrapping_add(*added),
        (Value::Time(total), Value::Time(added)) => *total = total.saturating_add(*added),
        (Value::Gauge(total), Value::Gauge(added)) => *total += added,
        (Value::Longest(total), Value::Longest(added)) => *total = total.max(*added),
        (Value::Histogram(total), Value::Histogram(added)) => total.merge(added),
        // A metric has one kind.
        _ => {}
    }
}
