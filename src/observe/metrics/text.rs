use std::{fmt::Write, time::Duration};

use super::{
    Kind,
    series::{Labels, SeriesSet, Value},
};
use crate::endpoint::Distribution;

/// The upper bounds of the buckets of histograms, in seconds: those that OpenTelemetry advises for
/// HTTP, and three more for fast services.
const BUCKETS: [f64; 17] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0,
    7.5, 10.0,
];

/// Writes all series in the text format of Prometheus, version 0.0.4.
pub(super) fn write(series: &SeriesSet) -> String {
    let mut text = String::new();
    let mut metric = "";
    // Writing into a string does not fail.
    for (labels, series) in series.iter() {
        let name = series.metric.name;
        if metric != name {
            metric = name;
            let kind = match series.metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", series.metric.help);
        }
        match &series.value {
            Value::Counter(count) => sample(&mut text, name, labels, "", *count as f64),
            Value::Time(nanos) => {
                let seconds = Duration::from_nanos(*nanos).as_secs_f64();
                sample(&mut text, name, labels, "", seconds);
            }
            Value::Gauge(value) | Value::Highest(value) | Value::Lowest(value) => {
                sample(&mut text, name, labels, "", *value);
            }
            Value::Histogram(distribution) => histogram(&mut text, name, labels, distribution),
        }
    }
    text
}

fn histogram(text: &mut String, name: &str, labels: &Labels, distribution: &Distribution) {
    let mut counts = [0; BUCKETS.len()];
    let (mut total, mut sum) = (0, 0.0);
    for (duration, count) in distribution.buckets() {
        let seconds = duration.as_secs_f64();
        total += count;
        sum += seconds * count as f64;
        if let Some(bucket) = BUCKETS.iter().position(|&bound| seconds <= bound) {
            counts[bucket] += count;
        }
    }
    let mut below = 0;
    for (bound, count) in BUCKETS.iter().zip(counts) {
        below += count;
        sample(text, &format!("{name}_bucket"), labels, &format!("le=\"{bound}\""), below as f64);
    }
    sample(text, &format!("{name}_bucket"), labels, "le=\"+Inf\"", total as f64);
    sample(text, &format!("{name}_sum"), labels, "", sum);
    sample(text, &format!("{name}_count"), labels, "", total as f64);
}

fn sample(text: &mut String, name: &str, labels: &Labels, more: &str, value: f64) {
    text.push_str(name);
    text.push('{');
    for (label, value) in labels {
        let _ = write!(text, "{label}=\"");
        escape(text, value);
        text.push_str("\",");
    }
    text.push_str(more);
    if more.is_empty() && !labels.is_empty() {
        text.pop();
    }
    let _ = writeln!(text, "}} {value}");
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}
