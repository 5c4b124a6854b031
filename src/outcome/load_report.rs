use std::{collections::BTreeMap, time::Duration};

/// What a server says of its own load, with a response or beside.
///
/// The rates and utilizations are those of ORCA (Open Request Cost Aggregation), the format of gRPC
/// and Envoy; requests in flight and latency are what Prequal's probes ask for. What is not told is
/// `None`; what is negative or not a number is taken as not told.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LoadReport {
    requests_per_second: Option<f64>,
    errors_per_second: Option<f64>,
    application_utilization: Option<f64>,
    cpu_utilization: Option<f64>,
    memory_utilization: Option<f64>,
    requests_in_flight: Option<f64>,
    free_capacity: Option<f64>,
    latency: Option<Duration>,
    metrics: BTreeMap<String, f64>,
}

impl LoadReport {
    /// A report that tells nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests that the server answers in a second, from all its clients.
    #[must_use]
    pub fn with_requests_per_second(mut self, rate: f64) -> Self {
        self.requests_per_second = sane(rate);
        self
    }

    /// Requests that fail there in a second.
    #[must_use]
    pub fn with_errors_per_second(mut self, rate: f64) -> Self {
        self.errors_per_second = sane(rate);
        self
    }

    /// How busy the server is as it sees itself: 0 is idle, 1 is as much as it is meant for. May be
    /// above 1.
    #[must_use]
    pub fn with_application_utilization(mut self, utilization: f64) -> Self {
        self.application_utilization = sane(utilization);
        self
    }

    /// How busy its processors are; may be above 1.
    #[must_use]
    pub fn with_cpu_utilization(mut self, utilization: f64) -> Self {
        self.cpu_utilization = sane(utilization);
        self
    }

    /// How full its memory is, 0 to 1.
    #[must_use]
    pub fn with_memory_utilization(mut self, utilization: f64) -> Self {
        self.memory_utilization = sane(utilization);
        self
    }

    /// Requests that are at the server, of all its clients, waiting ones included.
    #[must_use]
    pub fn with_requests_in_flight(mut self, requests: f64) -> Self {
        self.requests_in_flight = sane(requests);
        self
    }

    /// How many more requests it could serve at once without slowing any down; 0 says that it is
    /// busy.
    #[must_use]
    pub fn with_free_capacity(mut self, requests: f64) -> Self {
        self.free_capacity = sane(requests);
        self
    }

    /// How long requests take there at its present load, as the server measures it.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Adds a metric by name. ORCA's maps are told apart by a prefix: `utilization.queue`,
    /// `named_metrics.cache`.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        if let Some(value) = sane(value) {
            self.metrics.insert(name.into(), value);
        }
        self
    }

    /// Requests answered in a second.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        self.requests_per_second
    }

    /// Requests failed in a second.
    #[must_use]
    pub fn errors_per_second(&self) -> Option<f64> {
        self.errors_per_second
    }

    /// How busy the server says it is.
    #[must_use]
    pub fn application_utilization(&self) -> Option<f64> {
        self.application_utilization
    }

    /// How busy its processors are.
    #[must_use]
    pub fn cpu_utilization(&self) -> Option<f64> {
        self.cpu_utilization
    }

    /// How full its memory is.
    #[must_use]
    pub fn memory_utilization(&self) -> Option<f64> {
        self.memory_utilization
    }

    /// Requests that are at the server.
    #[must_use]
    pub fn requests_in_flight(&self) -> Option<f64> {
        self.requests_in_flight
    }

    /// How many more it could serve at once.
    #[must_use]
    pub fn free_capacity(&self) -> Option<f64> {
        self.free_capacity
    }

    /// How long requests take there.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// A metric by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    /// The utilization that counts: the highest of those metrics in `names` that are told and above
    /// 0, or else the application's, or else that of the processors.
    ///
    /// Source: gRPC A114.
    #[must_use]
    pub fn utilization(&self, names: &[String]) -> Option<f64> {
        let named = names.iter().filter_map(|name| self.metric(name)).filter(|&value| value > 0.0);
        let told = |value: Option<f64>| value.filter(|&value| value > 0.0);
        named
            .reduce(f64::max)
            .or_else(|| told(self.application_utilization))
            .or_else(|| told(self.cpu_utilization))
    }

    /// True if it tells nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn sane(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_not_told() {
        let report = LoadReport::new()
            .with_cpu_utilization(f64::NAN)
            .with_requests_per_second(-1.0)
            .with_metric("a", f64::INFINITY);
        assert!(report.is_empty());
    }

    #[test]
    fn named_metrics_come_first_then_the_application_then_the_processors() {
        let names = ["utilization.a".into(), "utilization.b".into()];
        let report = LoadReport::new().with_cpu_utilization(0.3);
        assert_eq!(report.utilization(&names), Some(0.3));
        let report = report.with_application_utilization(0.2);
        assert_eq!(report.utilization(&names), Some(0.2));
        let report = report.with_metric("utilization.a", 0.5).with_metric("utilization.b", 0.9);
        assert_eq!(report.utilization(&names), Some(0.9));
        assert_eq!(report.utilization(&[]), Some(0.2));
        let idle = LoadReport::new().with_application_utilization(0.0).with_cpu_utilization(0.4);
        assert_eq!(idle.utilization(&[]), Some(0.4));
    }
}
