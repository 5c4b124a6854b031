//! What the metrics are at the moment of a report. The edges below HTTP have a file each.

#[cfg(feature = "geneve")]
mod geneve;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "udp")]
mod udp;

use std::{collections::HashMap, sync::Arc};

use super::{
    EndpointSeries, Metric, catalog,
    series::{Labels, Reading, Value},
};
use crate::{
    balance::{DriverState, EndpointStatus, Status},
    discover::SourceReport,
    endpoint::OutcomeCounts,
    failover::FailoverStatus,
    health::{
        BackoffStatus, CheckCounts, CheckStatus, CircuitState, CircuitStatus, EjectionState,
        EjectionStatus,
    },
    hedge::HedgeStatus,
    limit::LimitStatus,
    observe::Report,
    retry::{BudgetStatus, RetryStatus},
};

/// The states of an endpoint, all of which have a series from the start.
const STATES: [&str; 4] = ["healthy", "degraded", "unhealthy", "draining"];

/// The longest value of a label, in bytes. Longer names are cut.
const MAX_LABEL_BYTES: usize = 256;

/// Returns the values of all metrics at the moment of a report.
pub(super) fn project(report: &Report, endpoint_series: EndpointSeries) -> Vec<Reading> {
    let mut all = Projection { endpoint_series, component: 0, readings: Vec::new() };
    all.each(report, &report.balancers, |all, balancer| all.balancer(&balancer.status));
    all.each(report, &report.retries, Projection::retry);
    all.each(report, &report.hedges, Projection::hedge);
    all.each(report, &report.failovers, Projection::failover);
    all.each(report, &report.budgets, Projection::budget);
    all.each(report, &report.limits, Projection::limit);
    all.each(report, &report.checks, Projection::checks);
    all.each(report, &report.ejections, Projection::ejections);
    all.each(report, &report.circuits, Projection::circuits);
    all.each(report, &report.backoffs, Projection::backoff);
    all.each(report, &report.sources, Projection::source);
    #[cfg(feature = "http-client")]
    all.each(report, &report.pools, Projection::pool);
    #[cfg(feature = "listener")]
    all.each(report, &report.listeners, Projection::listener);
    #[cfg(feature = "rules")]
    all.each(report, &report.rules, Projection::rules);
    #[cfg(feature = "alb")]
    all.each(report, &report.load_balancers, Projection::load_balancer);
    #[cfg(feature = "tcp")]
    all.each(report, &report.tcp_relays, Projection::tcp_relays);
    #[cfg(feature = "udp")]
    {
        all.each(report, &report.udp_relays, Projection::udp_relay);
        all.each(report, &report.udp_responders, Projection::udp_responder);
    }
    #[cfg(feature = "geneve")]
    {
        all.each(report, &report.gateways, Projection::gateway);
        all.each(report, &report.inspectors, Projection::inspector);
    }
    #[cfg(feature = "lambda")]
    {
        all.each(report, &report.billing, Projection::billing);
        all.each(report, &report.throttles, Projection::throttles);
    }
    all.readings
}

struct Projection {
    endpoint_series: EndpointSeries,
    /// The number of the component that is read: two can have one name.
    component: u64,
    readings: Vec<Reading>,
}

impl Projection {
    /// Reads the components of one kind.
    fn each<S: 'static>(
        &mut self,
        report: &Report,
        list: &[S],
        mut read: impl FnMut(&mut Self, &S),
    ) {
        for (component, status) in report.numbered(list) {
            self.component = component;
            read(self, status);
        }
    }

    /// Adds a value of the component.
    fn push<'a>(
        &mut self,
        metric: &'static Metric,
        labels: impl IntoIterator<Item = (&'static str, &'a str)>,
        value: Value,
    ) {
        let labels = labels.into_iter().map(|(name, value)| (name, label_value(value))).collect();
        self.push_part(metric, labels, None, value);
    }

    /// Adds a value of the component, or of one of its endpoints.
    fn push_part(
        &mut self,
        metric: &'static Metric,
        labels: Labels,
        endpoint: Option<&EndpointStatus>,
        value: Value,
    ) {
        let component = self.component;
        let endpoint = endpoint.map(|endpoint| endpoint.stats.clone());
        self.readings.push(Reading { metric, labels, component, endpoint, value });
    }

    /// Adds counts of the component by one more label, such as a reason.
    #[cfg(any(feature = "tcp", feature = "udp", feature = "geneve"))]
    fn push_counts(
        &mut self,
        metric: &'static Metric,
        labels: &[(&'static str, &str)],
        by: &'static str,
        counts: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        for (value, count) in counts {
            let labels = labels.iter().copied().chain([(by, value)]);
            self.push(metric, labels, Value::Counter(count));
        }
    }

    #[cfg(feature = "listener")]
    fn listener(&mut self, status: &crate::listener::ListenerStatus) {
        let name = ("listener", &*status.name);
        let open = Value::Gauge(status.open as f64);
        self.push(&catalog::CLIENT_CONNECTIONS, [name], open);
        for (metric, count) in [
            (&catalog::CLIENT_CONNECTIONS_ACCEPTED, status.accepted),
            (&catalog::CLIENT_REQUESTS, status.requests),
            (&catalog::ACCEPT_ERRORS, status.accept_errors),
        ] {
            self.push(metric, [name], Value::Counter(count));
        }
        for (direction, bytes) in [("in", status.bytes_in), ("out", status.bytes_out)] {
            let labels = [name, ("direction", direction)];
            self.push(&catalog::CLIENT_BYTES, labels, Value::Counter(bytes));
        }
        for (reason, count) in status.refused.iter() {
            let labels = [name, ("reason", reason)];
            self.push(&catalog::CLIENT_CONNECTIONS_REFUSED, labels, Value::Counter(count));
        }
        for (cause, count) in status.closed.iter() {
            let labels = [name, ("cause", cause)];
            self.push(&catalog::CLIENT_CONNECTIONS_CLOSED, labels, Value::Counter(count));
        }
    }

    #[cfg(feature = "rules")]
    fn rules(&mut self, status: &crate::rules::RulesStatus) {
        for rule in &status.rules {
            let labels = [("rules", &*status.name), ("rule", &*rule.name)];
            self.push(&catalog::RULE_MATCHES, labels, Value::Counter(rule.matched));
        }
    }

    #[cfg(feature = "alb")]
    fn load_balancer(&mut self, status: &crate::alb::load_balancer::LoadBalancerStatus) {
        for node in &status.listeners {
            let port = node.port.to_string();
            let makers = [("target", node.responses.target), ("load_balancer", node.responses.own)];
            for (by, classes) in makers {
                for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes) {
                    let labels = [
                        ("load_balancer", &*status.name),
                        ("listener", &port),
                        ("zone", node.zone.as_deref().unwrap_or_default()),
                        ("by", by),
                        ("class", class),
                    ];
                    self.push(&catalog::RESPONSES, labels, Value::Counter(count));
                }
            }
            node.connections.iter().for_each(|connections| self.listener(connections));
            self.rules(&node.rules);
        }
    }

    fn retry(&mut self, status: &RetryStatus) {
        let name = ("retry", &*status.name);
        for (reason, count) in status.retries.iter() {
            self.push(&catalog::RETRIES, [name, ("reason", reason)], Value::Counter(count));
        }
        for (result, count) in [("success", status.succeeded), ("abandoned", status.abandoned)] {
            self.push(&catalog::RETRY_REQUESTS, [name, ("result", result)], Value::Counter(count));
        }
        for (cause, count) in status.stopped.iter() {
            self.push(&catalog::RETRIES_STOPPED, [name, ("cause", cause)], Value::Counter(count));
        }
    }

    fn hedge(&mut self, status: &HedgeStatus) {
        let name = ("hedge", &*status.name);
        let ends = [
            ("won", status.won),
            ("lost", status.lost),
            ("rejected", status.rejected),
            ("abandoned", status.abandoned),
        ];
        for (result, count) in ends {
            self.push(&catalog::HEDGES, [name, ("result", result)], Value::Counter(count));
        }
        self.push(&catalog::HEDGES_REFUSED, [name], Value::Counter(status.refused));
        if let Some(delay) = status.delay {
            self.push(&catalog::HEDGE_DELAY, [name], Value::Highest(delay.as_secs_f64()));
        }
    }

    fn failover(&mut self, status: &FailoverStatus) {
        for (reason, count) in status.failovers.iter() {
            let labels = [("failover", &*status.name), ("reason", reason)];
            self.push(&catalog::FAILOVERS, labels, Value::Counter(count));
        }
    }

    fn budget(&mut self, status: &BudgetStatus) {
        let name = ("budget", &*status.name);
        self.push(&catalog::BUDGET_BALANCE, [name], Value::Gauge(status.balance));
        self.push(&catalog::BUDGET_SPENT, [name], Value::Counter(status.spent));
        self.push(&catalog::BUDGET_REFUSED, [name], Value::Counter(status.refused));
    }

    fn limit(&mut self, status: &LimitStatus) {
        let labels = [("limit", &*status.name), ("kind", status.kind.as_str())];
        let gauges = [
            (&catalog::LIMIT_MAX, status.limit),
            (&catalog::LIMIT_IN_FLIGHT, status.in_flight.map(|count| count as f64)),
            (&catalog::LIMIT_WAITING, Some(status.waiting as f64)),
        ];
        for (metric, value) in gauges {
            if let Some(value) = value {
                self.push(metric, labels, Value::Gauge(value));
            }
        }
        if let Some(share) = status.rejected_share {
            self.push(&catalog::REJECTED_RATIO, labels, Value::Highest(share));
        }
        if let Some(admitted) = status.admitted {
            self.push(&catalog::LIMIT_ADMITTED, labels, Value::Counter(admitted));
        }
        for (reason, count) in status.rejected.iter() {
            let labels = labels.into_iter().chain([("reason", reason)]);
            self.push(&catalog::REJECTIONS, labels, Value::Counter(count));
        }
    }

    fn checks(&mut self, status: &CheckStatus) {
        let CheckCounts { passed, failed, timed_out, .. } = status.counts;
        for (result, checks) in [("passed", passed), ("failed", failed), ("timed_out", timed_out)] {
            let labels = [("checks", &*status.name), ("result", result)];
            let nanos = u64::try_from(checks.total_time.as_nanos()).unwrap_or(u64::MAX);
            self.push(&catalog::CHECKS, labels, Value::Counter(checks.count));
            self.push(&catalog::CHECK_SECONDS, labels, Value::Time(nanos));
        }
    }

    fn ejections(&mut self, status: &EjectionStatus) {
        let name = ("stage", &*status.name);
        let counts = [("true", status.counts.enforced), ("false", status.counts.unenforced)];
        for (enforced, reasons) in counts {
            for (reason, count) in reasons.iter() {
                let labels = [name, ("reason", reason), ("enforced", enforced)];
                self.push(&catalog::EJECTIONS, labels, Value::Counter(count));
            }
        }
        for state in [EjectionState::Ejected, EjectionState::OnTrial] {
            let count = status.endpoints.iter().filter(|one| one.state == state).count();
            let labels = [name, ("state", state.as_str())];
            self.push(&catalog::EJECTED, labels, Value::Gauge(count as f64));
        }
    }

    fn circuits(&mut self, status: &CircuitStatus) {
        let name = ("breaker", &*status.name);
        for state in [CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen] {
            let count = status.endpoints.iter().filter(|one| one.state == state).count();
            let labels = [name, ("state", state.as_str())];
            self.push(&catalog::CIRCUITS, labels, Value::Gauge(count as f64));
        }
        let opened = [
            ("consecutive_failures", status.counts.opened_by_consecutive_failures),
            ("failure_share", status.counts.opened_by_failure_share),
            ("failed_trial", status.counts.opened_by_failed_trial),
        ];
        for (reason, count) in opened {
            let labels = [name, ("reason", reason)];
            self.push(&catalog::CIRCUITS_OPENED, labels, Value::Counter(count));
        }
    }

    fn source(&mut self, status: &SourceReport) {
        let name = ("source", &*status.name);
        for (result, count) in [("success", status.successes), ("error", status.errors)] {
            self.push(&catalog::SOURCE_POLLS, [name, ("result", result)], Value::Counter(count));
        }
        self.push(&catalog::SOURCE_UPDATES, [name], Value::Counter(status.updates));
        self.push(&catalog::SOURCE_ENDPOINTS, [name], Value::Gauge(status.endpoints as f64));
        if let Some(last) = status.last_success {
            let age = last.elapsed().as_secs_f64();
            self.push(&catalog::SOURCE_AGE, [name], Value::Highest(age));
        }
    }

    fn backoff(&mut self, status: &BackoffStatus) {
        let lowered = Value::Counter(status.counts.lowered);
        self.push(&catalog::BACKOFFS, [("stage", &*status.name)], lowered);
    }

    #[cfg(feature = "http-client")]
    fn pool(&mut self, status: &crate::http::PoolStatus) {
        let name = ("pool", &*status.name);
        self.push(&catalog::CONNECTIONS, [name], Value::Gauge(status.open as f64));
        self.push(&catalog::CONNECTIONS_OPENED, [name], Value::Counter(status.opened));
        for (reason, count) in status.failed.iter() {
            let labels = [name, ("reason", reason)];
            self.push(&catalog::CONNECT_FAILURES, labels, Value::Counter(count));
        }
    }

    #[cfg(feature = "lambda")]
    fn billing(&mut self, status: &crate::lambda::BillingStatus) {
        let name = ("billing", &*status.name);
        let nanos = u64::try_from(status.billed_time.as_nanos()).unwrap_or(u64::MAX);
        let values = [
            (&catalog::LAMBDA_INVOCATIONS, Value::Counter(status.invocations)),
            (&catalog::LAMBDA_COLD_STARTS, Value::Counter(status.cold_starts)),
            (&catalog::LAMBDA_BILLED, Value::Time(nanos)),
        ];
        for (metric, value) in values {
            self.push(metric, [name], value);
        }
    }

    #[cfg(feature = "lambda")]
    fn throttles(&mut self, status: &crate::lambda::ThrottlesStatus) {
        let name = ("throttles", &*status.name);
        for (scope, count) in status.throttled.iter() {
            let labels = [name, ("scope", scope)];
            self.push(&catalog::LAMBDA_THROTTLES, labels, Value::Counter(count));
        }
        self.push(&catalog::LAMBDA_SHED, [name], Value::Counter(status.shed));
    }

    fn balancer(&mut self, status: &Status) {
        let unnamed = || "balancer".into();
        let name = status.name.as_deref().map_or_else(unnamed, label_value);
        let labels = ("balancer", &*name);
        let count = |state| {
            let endpoints = status.endpoints.iter();
            endpoints.filter(|endpoint| endpoint.attributes.health().state() == state).count()
        };
        for state in STATES {
            let count = Value::Gauge(count(state) as f64);
            self.push(&catalog::ENDPOINTS, [labels, ("state", state)], count);
        }
        let eligible = status.endpoints.iter().filter(|endpoint| endpoint.is_eligible).count();
        let runs = status.driver.state != DriverState::Dropped;
        let values = [
            (&catalog::ELIGIBLE, Value::Gauge(eligible as f64)),
            (&catalog::NOTICES, Value::Gauge(status.notices.len() as f64)),
            (&catalog::WAITING, Value::Gauge(status.waiting as f64)),
            (&catalog::REJECTED, Value::Counter(status.rejected)),
            (&catalog::WAITS, Value::Histogram(status.waits.clone())),
            (&catalog::SNAPSHOTS, Value::Counter(status.version)),
            (&catalog::SOURCE_ERRORS, Value::Counter(status.driver.errors)),
            (&catalog::DRIVER, Value::Lowest(f64::from(u8::from(runs)))),
        ];
        for (metric, value) in values {
            self.push(metric, [labels], value);
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
        let source = Some(endpoint);
        for (outcome, count) in outcomes(&endpoint.outcomes) {
            let labels = [&labels[..], &[("outcome", outcome.into())]].concat();
            self.push_part(&catalog::REQUESTS, labels, source, Value::Counter(count));
        }
        let state = endpoint.attributes.health().state();
        for possible in STATES {
            let labels = [&labels[..], &[("state", possible.into())]].concat();
            let value = Value::Gauge(f64::from(u8::from(possible == state)));
            self.push_part(&catalog::HEALTH, labels, source, value);
        }
        let values = [
            (&catalog::PICKS, Value::Counter(endpoint.picks())),
            (&catalog::IN_FLIGHT, Value::Gauge(endpoint.outstanding.into())),
            (&catalog::STATE_SECONDS, Value::Highest(endpoint.since.as_secs_f64())),
            (&catalog::WEIGHT, Value::Gauge(endpoint.attributes.weight().into())),
        ];
        for (metric, value) in values {
            self.push_part(metric, labels.clone(), source, value);
        }
        let durations =
            [(&catalog::FIRST_BYTE, &endpoint.first_byte), (&catalog::DURATION, &endpoint.end)];
        for (metric, durations) in durations {
            if let Some(durations) = durations {
                self.push_part(metric, labels.clone(), source, Value::Histogram(durations.clone()));
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
