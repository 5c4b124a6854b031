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
    /// The number of the component that has the value.
    pub(super) component: u64,
    /// Which of the endpoints of the component has the value.
    pub(super) source: Arc<str>,
    pub(super) value: Value,
}

/// The series that were read so far.
///
/// What a component has counted is added to its series as the difference to the reading before.
/// So a series goes on when an endpoint is removed, or comes back and counts from 0. An endpoint
/// that moves to another series, such as `other`, takes nothing with it that was counted before.
#[derive(Debug, Default)]
pub(super) struct SeriesSet {
    series: BTreeMap<(&'static str, Labels), Series>,
    last: HashMap<Counted, Last>,
    /// The gauges that have disappeared in the latest update.
    vanished: Vec<(&'static Metric, Labels)>,
    /// How often the series were updated.
    round: u64,
}

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

/// What is counted: a metric of an endpoint of a component, whichever series has it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Counted {
    metric: &'static str,
    component: u64,
    source: Arc<str>,
    /// Labels that tell several counts of one endpoint apart, such as `outcome`.
    labels: Labels,
}

/// Labels that the component and the source determine, at one moment.
const PLACE: [&str; 4] = ["balancer", "endpoint", "zone", "tier"];

#[derive(Debug)]
struct Last {
    value: Value,
    seen: Instant,
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
        for Reading { metric, labels, component, source, value } in readings {
            let added = match value {
                Value::Gauge(_) | Value::Longest(_) => value,
                Value::Counter(_) | Value::Time(_) | Value::Histogram(_) => {
                    let own = labels.iter().filter(|(name, _)| !PLACE.contains(name));
                    let labels = own.cloned().collect();
                    let counted = Counted { metric: metric.name, component, source, labels };
                    let last = Last { value: value.clone(), seen: now };
                    let before = self.last.insert(counted, last);
                    difference(value, before.as_ref().map(|last| &last.value))
                }
            };
            let series = self.series.entry((metric.name, labels)).or_insert_with(|| Series {
                metric,
                value: zero(&added),
                added: zero(&added),
                seen: now,
                round,
            });
            (series.seen, series.round) = (now, round);
            add(&mut series.value, &added);
            add(&mut series.added, &added);
        }
        let is_fresh = |seen: Instant| now.saturating_duration_since(seen) <= grace;
        self.last.retain(|_, last| is_fresh(last.seen));
        self.vanished.clear();
        // A gauge of an endpoint that is gone says nothing; a counter is still scraped for a while.
        self.series.retain(|(_, labels), series| match series.value {
            Value::Gauge(_) | Value::Longest(_) => {
                let is_present = series.round == round;
                if !is_present {
                    self.vanished.push((series.metric, labels.clone()));
                }
                is_present
            }
            Value::Counter(_) | Value::Time(_) | Value::Histogram(_) => is_fresh(series.seen),
        });
    }

    /// Iterates over the gauges that have disappeared in the latest update.
    pub(super) fn vanished(&self) -> impl Iterator<Item = (&'static Metric, &Labels)> {
        self.vanished.iter().map(|(metric, labels)| (*metric, labels))
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
fn difference(now: Value, before: Option<&Value>) -> Value {
    match (now, before) {
        // A value that has fallen is that of a component which counts from 0.
        (Value::Counter(now), Some(Value::Counter(before))) => {
            Value::Counter(now.checked_sub(*before).unwrap_or(now))
        }
        (Value::Time(now), Some(Value::Time(before))) => {
            Value::Time(now.checked_sub(*before).unwrap_or(now))
        }
        (Value::Histogram(now), Some(Value::Histogram(before))) => {
            Value::Histogram(now.since(before))
        }
        (now, _) => now,
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
