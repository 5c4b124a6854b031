use std::{collections::HashMap, sync::Arc};

use super::{
    EndpointSeries, Metric, catalog,
    series::{Labels, Reading, Value},
};
use crate::{
    balance::{DriverState, EndpointStatus, Status},
    endpoint::OutcomeCounts,
    observe::Report,
};

/// The states of an endpoint, all of which have a series from the start.
const STATES: [&str; 4] = ["healthy", "degraded", "unhealthy", "draining"];

/// The longest value of a label, in bytes. Longer names are cut.
const MAX_LABEL_BYTES: usize = 256;

/// Returns the values of all metrics at the moment of a report.
pub(super) fn project(report: &Report, endpoint_series: EndpointSeries) -> Vec<Reading> {
    let mut projection = Projection { endpoint_series, component: 0, readings: Vec::new() };
    for balancer in &report.balancers {
        projection.component = balancer.id;
        projection.balancer(&balancer.status);
    }
    projection.readings
}

struct Projection {
    endpoint_series: EndpointSeries,
    /// The number of the component that is being read.
    component: u64,
    readings: Vec<Reading>,
}

impl Projection {
    fn push(&mut self, metric: &'static Metric, labels: Labels, source: &Arc<str>, value: Value) {
        let (component, source) = (self.component, Arc::clone(source));
        self.readings.push(Reading { metric, labels, component, source, value });
    }

    fn balancer(&mut self, status: &Status) {
        let unnamed = || "balancer".into();
        let name = status.name.as_deref().map_or_else(unnamed, label_value);
        let source: Arc<str> = "".into();
        let labels = || vec![("balancer", Arc::clone(&name))];
        let count = |state| {
            let endpoints = status.endpoints.iter();
            endpoints.filter(|endpoint| endpoint.attributes.health().state() == state).count()
        };
        for state in STATES {
            let labels = [labels(), vec![("state", state.into())]].concat();
            self.push(&catalog::ENDPOINTS, labels, &source, Value::Gauge(count(state) as f64));
        }
        let eligible = status.endpoints.iter().filter(|endpoint| endpoint.is_eligible).count();
        let runs = status.driver.state != DriverState::Dropped;
        let values = [
            (&catalog::ELIGIBLE, Value::Gauge(eligible as f64)),
            (&catalog::NOTICES, Value::Gauge(status.notices.len() as f64)),
            (&catalog::WAITING, Value::Gauge(status.waiting as f64)),
            (&catalog::WAITS, Value::Histogram(status.waits.clone())),
            (&catalog::SNAPSHOTS, Value::Counter(status.version)),
            (&catalog::SOURCE_ERRORS, Value::Counter(status.driver.errors)),
            (&catalog::DRIVER, Value::Gauge(f64::from(u8::from(runs)))),
        ];
        for (metric, value) in values {
            self.push(metric, labels(), &source, value);
        }
        let mut tiers = HashMap::new();
        for (index, endpoint) in status.endpoints.iter().enumerate() {
            let tier = tiers.entry(endpoint.attributes.tier());
            let tier = tier.or_insert_with_key(|tier| tier.to_string().into());
            let labels = self.endpoint_labels(&name, index, endpoint, tier);
            self.endpoint(&labels, endpoint);
        }
    }

    fn endpoint_labels(
        &self,
        balancer: &Arc<str>,
        index: usize,
        endpoint: &EndpointStatus,
        tier: &Arc<str>,
    ) -> Labels {
        let mut labels = vec![("balancer", Arc::clone(balancer))];
        let zone = || {
            let zone = endpoint.attributes.locality().map_or("", |locality| locality.zone());
            ("zone", label_value(zone))
        };
        match self.endpoint_series {
            EndpointSeries::Each { max } if index < max => {
                labels.push(("endpoint", label_value(&endpoint.name)));
                labels.push(zone());
                labels.push(("tier", Arc::clone(tier)));
            }
            EndpointSeries::Each { .. } => labels.extend([
                ("endpoint", "other".into()),
                ("zone", "".into()),
                ("tier", "".into()),
            ]),
            EndpointSeries::Zones => labels.push(zone()),
            EndpointSeries::Tiers => labels.push(("tier", Arc::clone(tier))),
            EndpointSeries::None => {}
        }
        labels
    }

    fn endpoint(&mut self, labels: &Labels, endpoint: &EndpointStatus) {
        let source = &endpoint.name;
        for (outcome, count) in outcomes(&endpoint.outcomes) {
            let labels = [&labels[..], &[("outcome", outcome.into())]].concat();
            self.push(&catalog::REQUESTS, labels, source, Value::Counter(count));
        }
        let state = endpoint.attributes.health().state();
        for possible in STATES {
            let labels = [&labels[..], &[("state", possible.into())]].concat();
            let value = Value::Gauge(f64::from(u8::from(possible == state)));
            self.push(&catalog::HEALTH, labels, source, value);
        }
        let values = [
            (&catalog::PICKS, Value::Counter(endpoint.picks())),
            (&catalog::IN_FLIGHT, Value::Gauge(endpoint.outstanding.into())),
            (&catalog::STATE_SECONDS, Value::Longest(endpoint.since.as_secs_f64())),
            (&catalog::WEIGHT, Value::Gauge(endpoint.attributes.weight().into())),
        ];
        for (metric, value) in values {
            self.push(metric, labels.clone(), source, value);
        }
        let durations =
            [(&catalog::FIRST_BYTE, &endpoint.first_byte), (&catalog::DURATION, &endpoint.end)];
        for (metric, durations) in durations {
            if let Some(durations) = durations {
                self.push(metric, labels.clone(), source, Value::Histogram(durations.clone()));
            }
        }
    }
}

fn outcomes(counts: &OutcomeCounts) -> [(&'static str, u64); 6] {
    [
        ("success", counts.success),
        ("application", counts.application),
        ("overload", counts.overload),
        ("transport", counts.transport),
        ("timeout", counts.timeout),
        ("cancelled", counts.cancelled),
    ]
}

/// Returns a name as the value of a label: cut at the boundary of a character if it is too long,
/// and without control characters, which recorders and the text format replace. Two names may
/// become one here, so that they share a series; replaced later, they would be a series twice.
fn label_value(name: &str) -> Arc<str> {
    let end = (0..=MAX_LABEL_BYTES.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
    let name = &name[..end.unwrap_or_default()];
    let is_replaced = |character: char| character.is_control() && character != '\n';
    if name.contains(is_replaced) {
        name.replace(is_replaced, "\u{fffd}").into()
    } else {
        name.into()
    }
}
