/// What is known of a metric before it has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, as Prometheus writes it.
    pub name: &'static str,
    /// How the values are to be read.
    pub kind: Kind,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// What the metric counts or measures.
    pub help: &'static str,
}

/// How the values of a [`Metric`] are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only rises, except when the program starts.
    Counter,
    /// It rises and falls.
    Gauge,
    /// A distribution of durations in seconds.
    Histogram,
}

macro_rules! catalog {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric {
            name: concat!("tower_lb_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All metrics of the crate.
        ///
        /// The labels `endpoint`, `zone` and `tier` depend on
        /// [`EndpointSeries`](super::EndpointSeries).
        pub static CATALOG: &[&Metric] = &[$(&$id),*];
    };
}

catalog! {
    REQUESTS = Counter "requests_total" ["balancer", "endpoint", "zone", "tier", "outcome"]
        "Attempts that have ended, by outcome: success, application, overload, transport, timeout, cancelled.";
    PICKS = Counter "picks_total" ["balancer", "endpoint", "zone", "tier"]
        "Attempts that were begun, which is how often the strategy has selected the endpoint.";
    IN_FLIGHT = Gauge "requests_in_flight" ["balancer", "endpoint", "zone", "tier"]
        "Attempts in flight.";
    FIRST_BYTE = Histogram "first_byte_seconds" ["balancer", "endpoint", "zone", "tier"]
        "Time from the pick to the beginning of the response.";
    DURATION = Histogram "request_duration_seconds" ["balancer", "endpoint", "zone", "tier"]
        "Time from the pick to the end of the attempt, without cancelled ones.";
    HEALTH = Gauge "endpoint_health" ["balancer", "endpoint", "zone", "tier", "state"]
        "Endpoints in each state: healthy, degraded, unhealthy, draining. 0 or 1 for a single endpoint.";
    STATE_SECONDS = Gauge "endpoint_state_seconds" ["balancer", "endpoint", "zone", "tier"]
        "Time since the health of the endpoint changed. The longest of several endpoints.";
    WEIGHT = Gauge "endpoint_weight" ["balancer", "endpoint", "zone", "tier"]
        "Present weight, which slow start and overload backoff change.";
    ENDPOINTS = Gauge "endpoints" ["balancer", "state"]
        "Endpoints of the balancer in each state.";
    ELIGIBLE = Gauge "endpoints_eligible" ["balancer"]
        "Endpoints that the strategy may select.";
    NOTICES = Gauge "notices" ["balancer"]
        "Notices of the strategy that hold at present, such as a panic rule.";
    WAITING = Gauge "requests_waiting" ["balancer"]
        "Requests that are queued for an endpoint with room.";
    WAITS = Histogram "wait_seconds" ["balancer"]
        "Time that requests have waited for an endpoint, without those that had not to wait.";
    SNAPSHOTS = Counter "snapshots_total" ["balancer"]
        "Sets of endpoints that the driver has published.";
    SOURCE_ERRORS = Counter "source_errors_total" ["balancer"]
        "Errors of the stream of endpoints.";
    DRIVER = Gauge "driver_running" ["balancer"]
        "1 while the driver applies changes of the endpoints, or has a complete list; 0 if it was dropped.";
}
