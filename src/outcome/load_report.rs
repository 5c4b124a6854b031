use std::{collections::BTreeMap, time::Duration};

/// A server's report of its own load, with a response or separately.
///
/// The rates and utilizations are those of ORCA (Open Request Cost Aggregation), the format of gRPC
/// and Envoy. Prequal's probes ask for requests in flight and latency. A value that the server does
/// not report is `None`. A negative value, or one that is not a number, counts as not reported.
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
    permits: Option<u32>,
    metrics: BTreeMap<String, f64>,
}

impl LoadReport {
    /// Creates an empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the requests that the server answers in a second, for all its clients.
    #[must_use]
    pub fn with_requests_per_second(mut self, rate: f64) -> Self {
        self.requests_per_second = valid(rate);
        self
    }

    /// Sets the requests that fail in a second.
    #[must_use]
    pub fn with_errors_per_second(mut self, rate: f64) -> Self {
        self.errors_per_second = valid(rate);
        self
    }

    /// Sets the server's own measure of its utilization: 0 is idle, 1 is the load that it is built
    /// for. It may be above 1.
    #[must_use]
    pub fn with_application_utilization(mut self, utilization: f64) -> Self {
        self.application_utilization = valid(utilization);
        self
    }

    /// Sets the utilization of the processors. It may be above 1.
    #[must_use]
    pub fn with_cpu_utilization(mut self, utilization: f64) -> Self {
        self.cpu_utilization = valid(utilization);
        self
    }

    /// Sets the utilization of the memory, from 0 to 1.
    #[must_use]
    pub fn with_memory_utilization(mut self, utilization: f64) -> Self {
        self.memory_utilization = valid(utilization);
        self
    }

    /// Sets the requests at the server, from all its clients, including waiting ones.
    #[must_use]
    pub fn with_requests_in_flight(mut self, requests: f64) -> Self {
        self.requests_in_flight = valid(requests);
        self
    }

    /// Sets how many more requests the server could serve at once without slowing any down; 0 means
    /// that it is busy.
    #[must_use]
    pub fn with_free_capacity(mut self, requests: f64) -> Self {
        self.free_capacity = valid(requests);
        self
    }

    /// Sets the time that requests take at the present load, as the server measures it.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Sets how many requests the server permits this client to have in flight at a time; 0 permits
    /// none.
    #[must_use]
    pub fn with_permits(mut self, permits: u32) -> Self {
        self.permits = Some(permits);
        self
    }

    /// Adds a metric by name. A prefix names the map of ORCA: `utilization.queue`,
    /// `named_metrics.cache`.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        if let Some(value) = valid(value) {
            self.metrics.insert(name.into(), value);
        }
        self
    }

    /// Returns the requests answered in a second.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        self.requests_per_second
    }

    /// Returns the requests failed in a second.
    #[must_use]
    pub fn errors_per_second(&self) -> Option<f64> {
        self.errors_per_second
    }

    /// Returns the server's own measure of its utilization.
    #[must_use]
    pub fn application_utilization(&self) -> Option<f64> {
        self.application_utilization
    }

    /// Returns the utilization of the processors.
    #[must_use]
    pub fn cpu_utilization(&self) -> Option<f64> {
        self.cpu_utilization
    }

    /// Returns the utilization of the memory.
    #[must_use]
    pub fn memory_utilization(&self) -> Option<f64> {
        self.memory_utilization
    }

    /// Returns the requests at the server.
    #[must_use]
    pub fn requests_in_flight(&self) -> Option<f64> {
        self.requests_in_flight
    }

    /// Returns how many more requests the server could serve at once.
    #[must_use]
    pub fn free_capacity(&self) -> Option<f64> {
        self.free_capacity
    }

    /// Returns the time that requests take.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Returns how many requests the server permits at a time.
    #[must_use]
    pub fn permits(&self) -> Option<u32> {
        self.permits
    }

    /// Returns a metric by its name.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied()
    }

    /// Returns the utilization to use: the highest of the metrics in `names`, or else that of the
    /// application, or else that of the processors, each if it is above 0. If none is above 0, the
    /// result is 0 if one of them is reported, and otherwise `None`.
    ///
    /// Source: gRPC A114. Where this differs: a reported 0 counts. In gRPC's binary format it can't
    /// be told from a figure that is not reported.
    #[must_use]
    pub fn utilization(&self, names: &[String]) -> Option<f64> {
        let named = names.iter().filter_map(|name| self.metric(name)).reduce(f64::max);
        let mut reported =
            [named, self.application_utilization, self.cpu_utilization].into_iter().flatten();
        let first = reported.clone().next();
        reported.find(|&value| value > 0.0).or(first)
    }

    /// Returns true if the report is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn valid(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_count_as_not_reported() {
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
        let idle = LoadReport::new().with_application_utilization(0.0);
        assert_eq!(idle.utilization(&names), Some(0.0));
        assert_eq!(
            LoadReport::new().with_metric("utilization.a", 0.0).utilization(&names),
            Some(0.0)
        );
        assert_eq!(LoadReport::new().with_memory_utilization(0.5).utilization(&names), None);
    }
}
