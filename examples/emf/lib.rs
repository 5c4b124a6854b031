//! Metrics in CloudWatch's embedded metric format: log lines that CloudWatch turns into metrics.
//!
//! Each interval has one line per balancer, with what was counted in the interval. Each set of
//! dimensions is a metric that costs money, so the only dimension is the name of the balancer.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value, json};
use tower_lb::{
    balance::Status,
    endpoint::{Distribution, OutcomeCounts},
    observe::Report,
};

/// The most values that a metric may have in one line.
const MAX_VALUES: usize = 100;

/// The longest value of a dimension, in characters.
const MAX_DIMENSION: usize = 1024;

/// Writes reports as lines, and remembers what the last ones had counted.
#[derive(Debug)]
pub struct Emf {
    namespace: String,
    /// What the endpoints had counted, by balancer and endpoint.
    last: HashMap<(String, String), Counted>,
}

#[derive(Clone, Debug, Default)]
struct Counted {
    outcomes: OutcomeCounts,
    /// Durations by the number of their bucket.
    durations: Vec<(Duration, u64)>,
}

impl Emf {
    /// Creates a writer of metrics in a namespace of CloudWatch.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into(), last: HashMap::new() }
    }

    /// Returns a line for each balancer. Counts are those since the report before.
    pub fn lines(&mut self, report: &Report) -> Vec<String> {
        let time = report.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = std::mem::take(&mut self.last);
        let statuses = report.balancers.iter().map(|balancer| &balancer.status);
        statuses.map(|status| self.line(status, time.as_millis() as u64, &last)).collect()
    }

    fn line(
        &mut self,
        status: &Status,
        millis: u64,
        last: &HashMap<(String, String), Counted>,
    ) -> String {
        let name = dimension(status.name.as_deref().unwrap_or("balancer"));
        let mut sums = [0; 6];
        let mut durations: Vec<(Duration, u64)> = Vec::new();
        for endpoint in &status.endpoints {
            let key = (name.clone(), endpoint.name.to_string());
            let first_byte = endpoint.first_byte.as_ref().map(Distribution::buckets);
            let counted = Counted {
                outcomes: endpoint.outcomes,
                durations: first_byte.map(Iterator::collect).unwrap_or_default(),
            };
            let before = last.get(&key).cloned().unwrap_or_default();
            let counts = counts(&counted.outcomes).into_iter().zip(counts(&before.outcomes));
            for (sum, (now, before)) in sums.iter_mut().zip(counts) {
                *sum += added(now, before);
            }
            for (bucket, &(duration, count)) in counted.durations.iter().enumerate() {
                let before = before.durations.get(bucket).map_or(0, |(_, count)| *count);
                match durations.get_mut(bucket) {
                    Some((_, sum)) => *sum += added(count, before),
                    None => durations.push((duration, added(count, before))),
                }
            }
            self.last.insert(key, counted);
        }
        let in_state = |state| {
            let endpoints = status.endpoints.iter();
            endpoints.filter(|endpoint| endpoint.attributes.health().state() == state).count()
        };
        let [success, application, overload, transport, timeout, cancelled] = sums;
        // Those that a load balancer of AWS has, have its names.
        let mut metrics = vec![
            ("RequestCount", "Count", json!(sums.iter().sum::<u64>())),
            ("Success", "Count", json!(success)),
            ("ApplicationError", "Count", json!(application)),
            ("Overload", "Count", json!(overload)),
            ("TransportFailure", "Count", json!(transport)),
            ("Timeout", "Count", json!(timeout)),
            ("Cancelled", "Count", json!(cancelled)),
            ("HealthyHostCount", "Count", json!(in_state("healthy"))),
            ("UnHealthyHostCount", "Count", json!(in_state("unhealthy"))),
            ("Waiting", "Count", json!(status.waiting)),
        ];
        let times = values(&durations);
        if !times.is_empty() {
            metrics.push(("TargetResponseTime", "Seconds", json!(times)));
        }
        let definitions: Vec<_> =
            metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        let mut line = Map::new();
        line.insert(
            "_aws".into(),
            json!({
                "Timestamp": millis,
                "CloudWatchMetrics": [{
                    "Namespace": self.namespace,
                    "Dimensions": [["Balancer"]],
                    "Metrics": definitions,
                }],
            }),
        );
        line.insert("Balancer".into(), json!(name));
        line.extend(metrics.into_iter().map(|(name, _, value)| (name.to_owned(), value)));
        Value::Object(line).to_string()
    }
}

fn counts(outcomes: &OutcomeCounts) -> [u64; 6] {
    [
        outcomes.success,
        outcomes.application,
        outcomes.overload,
        outcomes.transport,
        outcomes.timeout,
        outcomes.cancelled,
    ]
}

/// Returns what was counted since the report before. An endpoint that comes back counts from 0.
fn added(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// Returns at most `MAX_VALUES` durations that stand for all, the slowest among them.
fn values(durations: &[(Duration, u64)]) -> Vec<f64> {
    let total: u64 = durations.iter().map(|(_, count)| count).sum();
    let samples = total.min(MAX_VALUES as u64);
    let share = |count: u64| count * samples / total.max(1);
    let mut below = 0;
    let mut values = Vec::new();
    for &(duration, count) in durations {
        let of_bucket = share(below + count) - share(below);
        below += count;
        values.extend((0..of_bucket).map(|_| duration.as_secs_f64()));
    }
    values
}

/// A dimension has printable ASCII characters, is not empty, and begins with no colon.
fn dimension(name: &str) -> String {
    let allowed = |character: char| matches!(character, ' '..='~');
    let characters = name.chars().map(|one| if allowed(one) { one } else { '?' });
    let name: String = characters.take(MAX_DIMENSION).collect();
    let name = name.trim().trim_start_matches(':');
    if name.is_empty() { "balancer".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tower::{ServiceExt, service_fn};
    use tower_lb::{Balancer, BoxError, discover, observe::Registry, strategy::P2c};

    use super::*;

    #[tokio::test]
    async fn a_line_is_a_document_of_the_embedded_metric_format() {
        let (handle, targets) = discover::channel();
        let service = service_fn(|ok: bool| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if ok { Ok(()) } else { Err(BoxError::from("refused")) }
        });
        handle.insert("a", service).unwrap();
        let name = format!("\"users\"\n<script>é{}", "x".repeat(10_000));
        let builder = Balancer::builder().name(name).measure_durations(true);
        let balancer = builder.spawn(P2c::default(), targets).unwrap();
        let registry = Registry::new();
        registry.add(&balancer);
        let mut emf = Emf::new("Shop");
        for n in 0..150 {
            let _ = balancer.clone().oneshot(n % 10 != 0).await;
        }
        let lines = emf.lines(&registry.report());
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.len() < 1_000_000 && !line.contains('\n'));
        let document: Value = serde_json::from_str(line).unwrap();
        assert_eq!(document["RequestCount"], 150);
        assert_eq!((&document["Success"], &document["HealthyHostCount"]), (&json!(135), &json!(1)));
        let times = document["TargetResponseTime"].as_array().unwrap();
        assert_eq!(times.len(), 100);
        assert!(times.iter().all(|time| (0.0008..1.0).contains(&time.as_f64().unwrap())));

        let balancer_name = document["Balancer"].as_str().unwrap();
        assert!(balancer_name.starts_with("\"users\"?<script>?xxx"), "{balancer_name}");
        assert!(balancer_name.len() <= 1024 && balancer_name.is_ascii());

        let root = &document["_aws"];
        assert!(root["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
        let directive = &root["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Shop");
        assert_eq!(directive["Dimensions"], json!([["Balancer"]]));
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let value = &document[metric["Name"].as_str().unwrap()];
            assert!(value.is_number() || value.is_array(), "{metric}: {value}");
            assert!(["Count", "Seconds"].contains(&metric["Unit"].as_str().unwrap()));
        }
        // Every member that is no metric is a dimension.
        assert_eq!(document.as_object().unwrap().len(), metrics.len() + 2);

        let lines = emf.lines(&registry.report());
        let document: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(document["RequestCount"], 0, "counts are those of the interval");
        assert!(document.get("TargetResponseTime").is_none());
    }
}
