use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::Metric;
use crate::endpoint::{Distribution, EndpointStats};

/// The names and values of the labels of a series.
pub(super) type Labels = Vec<(&'static str, Arc<str>)>;

/// A value that a component has at one moment.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Counter(u64),
    /// A sum of times in nanoseconds, which is a counter in seconds.
    Time(u64),
    Gauge(f64),
    /// A gauge of which the highest of several readings counts.
    Highest(f64),
    /// A gauge of which the lowest of several readings counts.
    Lowest(f64),
    Histogram(Distribution),
}

/// A value of one component. Several readings can belong to one series.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) metric: &'static Metric,
    pub(super) labels: Labels,
    /// The number of the component that has the value.
    pub(super) component: u64,
    /// The endpoint of the component that has the value. `None` if the component has it.
    pub(super) endpoint: Option<Weak<EndpointStats>>,
    pub(super) value: Value,
}

/// The series that were read so far.
///
/// What a component has counted is added to its series as the difference to the reading before.
/// So a series goes on when an endpoint is removed, or comes back and counts from 0. An endpoint
/// that moves to another series, such as `other`, takes nothing with it that was counted before.
/// The stats tell endpoints apart: names may be equal, and an endpoint may come back.
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
    /// The address of the endpoint's stats; 0 for what the component counts.
    endpoint: usize,
    /// Labels that tell several counts of one endpoint apart, such as `outcome`.
    labels: Labels,
}

/// Labels that the component and the endpoint determine, at one moment.
const PLACE: [&str; 4] = ["balancer", "endpoint", "zone", "tier"];

#[derive(Debug)]
struct Last {
    value: Value,
    seen: Instant,
    /// Keeps the address from being used again.
    endpoint: Option<Weak<EndpointStats>>,
}

impl SeriesSet {
    /// Adds new readings. Series without a reading for longer than `grace` are removed.
    pub(super) fn update(&mut self, readings: Vec<Reading>, grace: Duration) {
        let now = Instant::now();
        self.round += 1;
        let round = self.round;
        for series in self.series.values_mut() {
            series.added = zero(&series.value);
            if is_gauge(&series.value) {
                series.value = zero(&series.value);
            }
        }
        for Reading { metric, labels, component, endpoint, value } in readings {
            let added = if is_gauge(&value) {
                value
            } else {
                let own = labels.iter().filter(|(name, _)| !PLACE.contains(name));
                let labels = own.cloned().collect();
                let address = endpoint.as_ref().map_or(0, |stats| stats.as_ptr() as usize);
                let counted = Counted { metric: metric.name, component, endpoint: address, labels };
                match self.last.entry(counted) {
                    Entry::Vacant(entry) => {
                        entry.insert(Last { value: value.clone(), seen: now, endpoint });
                        value
                    }
                    Entry::Occupied(mut entry) => {
                        entry.get_mut().seen = now;
                        advance(&mut entry.get_mut().value, value)
                    }
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
        // An endpoint that is kept somewhere may come back with what it has counted.
        let is_kept = |stats: &Weak<EndpointStats>| stats.strong_count() > 0;
        self.last
            .retain(|_, last| is_fresh(last.seen) || last.endpoint.as_ref().is_some_and(is_kept));
        self.vanished.clear();
        // A gauge of an endpoint that is gone says nothing; a counter is still scraped for a while.
        self.series.retain(|(_, labels), series| {
            if !is_gauge(&series.value) {
                return is_fresh(series.seen);
            }
            let is_present = series.round == round;
            if !is_present {
                self.vanished.push((series.metric, labels.clone()));
            }
            is_present
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
        Value::Highest(_) => Value::Highest(f64::NEG_INFINITY),
        Value::Lowest(_) => Value::Lowest(f64::INFINITY),
        Value::Histogram(_) => Value::Histogram(Distribution::default()),
    }
}

fn is_gauge(value: &Value) -> bool {
    matches!(value, Value::Gauge(_) | Value::Highest(_) | Value::Lowest(_))
}

/// Returns what was counted since the last reading, and replaces that one.
fn advance(last: &mut Value, now: Value) -> Value {
    match (last, now) {
        (Value::Counter(last), Value::Counter(now)) => {
            let added = counted_since(*last, now);
            // A reading that has fallen is caught up with before more is added.
            if added > 0 || now > *last {
                *last = now;
            }
            Value::Counter(added)
        }
        (Value::Time(last), Value::Time(now)) => {
            let added = now.saturating_sub(*last);
            *last = now.max(*last);
            Value::Time(added)
        }
        (Value::Histogram(last), Value::Histogram(now)) => {
            let added = now.since(last);
            *last = now;
            Value::Histogram(added)
        }
        // A metric has one kind.
        (_, now) => now,
    }
}

/// Returns how much a count has risen since it was `before`.
///
/// A count of failures wraps around at 2^32, and that of successes at 2^40. One that has fallen by
/// less has counted a request that was then not sent, or twice in a reading that was not atomic.
fn counted_since(before: u64, now: u64) -> u64 {
    match before.saturating_sub(now) {
        0 => now - before,
        fell if fell > 1 << 39 => (1_u64 << 40).saturating_sub(fell),
        fell if fell > 1 << 31 => (1_u64 << 32).saturating_sub(fell),
        _ => 0,
    }
}

fn add(total: &mut Value, added: &Value) {
    match (total, added) {
        (Value::Counter(total), Value::Counter(added)) => *total = total.wrapping_add(*added),
        (Value::Time(total), Value::Time(added)) => *total = total.saturating_add(*added),
        (Value::Gauge(total), Value::Gauge(added)) => *total += added,
        (Value::Highest(total), Value::Highest(added)) => *total = total.max(*added),
        (Value::Lowest(total), Value::Lowest(added)) => *total = total.min(*added),
        (Value::Histogram(total), Value::Histogram(added)) => total.merge(added),
        // A metric has one kind.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_falls_a_little_is_caught_up_with_and_one_that_wraps_goes_on() {
        let mut last = Value::Counter(100);
        let mut added = |now| match advance(&mut last, Value::Counter(now)) {
            Value::Counter(added) => added,
            other => panic!("{other:?}"),
        };
        assert_eq!([added(150), added(130), added(140), added(155)], [50, 0, 0, 5]);
        assert_eq!(added((1 << 32) - 1), (1 << 32) - 156);
        assert_eq!(added(4), 5, "wrapped at 2^32");
        assert_eq!(added((1 << 40) - 1), (1 << 40) - 5);
        assert_eq!(added(2), 3, "wrapped at 2^40");
    }
}
