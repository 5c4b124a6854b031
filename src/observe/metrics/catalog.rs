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
    /// A count that only rises, from 0 when the program starts.
    Counter,
    /// A value that rises and falls.
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
        "Time since the state of the endpoint changed. The longest of several endpoints.";
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
    REJECTED = Counter "requests_rejected_total" ["balancer"]
        "Requests that failed because no endpoint had room and the queue was full.";
    WAITS = Histogram "wait_seconds" ["balancer"]
        "How long requests have waited for an endpoint, counted when the wait ends.";
    SNAPSHOTS = Counter "snapshots_total" ["balancer"]
        "Sets of endpoints that the driver has published.";
    SOURCE_ERRORS = Counter "source_errors_total" ["balancer"]
        "Errors of the stream of endpoints.";
    DRIVER = Gauge "driver_running" ["balancer"]
        "1 while the driver applies changes of the endpoints, or has a complete list; 0 if it was dropped.";
    RETRIES = Counter "retries_total" ["retry", "reason"]
        "Retries that were sent, by what failed before: transport, timeout, overload, application, refused, unsent.";
    RETRY_REQUESTS = Counter "retry_requests_total" ["retry", "result"]
        "Requests of which an attempt failed and that were retried with success, or were abandoned by the caller.";
    RETRIES_STOPPED = Counter "retries_stopped_total" ["retry", "cause"]
        "Requests whose failure went to the caller, by what ended their retries.";
    HEDGES = Counter "hedges_total" ["hedge", "result"]
        "Hedges that have ended, by result: won, lost, rejected, abandoned.";
    HEDGES_REFUSED = Counter "hedges_refused_total" ["hedge"]
        "Requests that got no hedge because the balance of the budget was too low.";
    HEDGE_DELAY = Gauge "hedge_delay_seconds" ["hedge"]
        "How long an attempt may take before a hedge is sent. Absent while none is sent.";
    FAILOVERS = Counter "failovers_total" ["failover", "reason"]
        "Requests that were sent to the fallback, by what was wrong with the primary.";
    BUDGET_BALANCE = Gauge "budget_balance" ["budget"]
        "Retries and hedges that could be paid for at this moment.";
    BUDGET_SPENT = Counter "budget_spent_total" ["budget"]
        "Retries and hedges that were paid for.";
    BUDGET_REFUSED = Counter "budget_refused_total" ["budget"]
        "Retries and hedges that were not sent because the balance was too low.";
    LIMIT_MAX = Gauge "limit_max" ["limit", "kind"]
        "Requests that may be in flight, or the rate a second. Absent for adaptive throttles.";
    LIMIT_IN_FLIGHT = Gauge "limit_in_flight" ["limit", "kind"]
        "Requests that hold a permit of the limit.";
    LIMIT_WAITING = Gauge "limit_waiting" ["limit", "kind"]
        "Requests that wait for the limit.";
    LIMIT_ADMITTED = Counter "limit_admitted_total" ["limit", "kind"]
        "Requests that got a permit.";
    REJECTIONS = Counter "rejections_total" ["limit", "kind", "reason"]
        "Requests that the limit has rejected.";
    REJECTED_RATIO = Gauge "throttle_rejected_ratio" ["limit", "kind"]
        "The share of requests that an adaptive throttle rejects at present.";
    CHECKS = Counter "health_checks_total" ["checks", "result"]
        "Health checks by result: passed, failed, timed_out.";
    CHECK_SECONDS = Counter "health_check_seconds_total" ["checks", "result"]
        "The time that the health checks took.";
    EJECTIONS = Counter "ejections_total" ["stage", "reason", "enforced"]
        "Outliers that were ejected, or were not because of the limit on ejections.";
    EJECTED = Gauge "endpoints_ejected" ["stage", "state"]
        "Endpoints that are ejected or on trial.";
    CIRCUITS = Gauge "circuits" ["breaker", "state"]
        "Circuits in each state: closed, open, half_open.";
    CIRCUITS_OPENED = Counter "circuits_opened_total" ["breaker", "reason"]
        "Circuits that have opened.";
    BACKOFFS = Counter "overload_backoffs_total" ["stage"]
        "How often the weight of an overloaded endpoint was lowered.";
    SOURCE_POLLS = Counter "source_polls_total" ["source", "result"]
        "Polls of a source of endpoints by result: success, error.";
    SOURCE_UPDATES = Counter "source_updates_total" ["source"]
        "Answers of a source that have changed the endpoints.";
    SOURCE_AGE = Gauge "source_age_seconds" ["source"]
        "Age of the last answer of a source. Absent before the first one.";
    SOURCE_ENDPOINTS = Gauge "source_endpoints" ["source"]
        "Endpoints in the last answer of a source.";
    CONNECTIONS = Gauge "connections" ["pool"]
        "Connections to endpoints that are open, in use or kept.";
    CONNECTIONS_OPENED = Counter "connections_opened_total" ["pool"]
        "Connections to endpoints that were opened.";
    CONNECT_FAILURES = Counter "connect_failures_total" ["pool", "reason"]
        "Connections that could not be opened, by reason: refused, timed_out, tls, other.";
    CLIENT_CONNECTIONS = Gauge "client_connections" ["listener"]
        "Connections of clients that are open.";
    CLIENT_CONNECTIONS_ACCEPTED = Counter "client_connections_accepted_total" ["listener"]
        "Connections of clients that were accepted.";
    CLIENT_CONNECTIONS_REFUSED = Counter "client_connections_refused_total" ["listener", "reason"]
        "Connections of clients that were refused before a request: a limit, a PROXY header, a TLS handshake.";
    CLIENT_CONNECTIONS_CLOSED = Counter "client_connections_closed_total" ["listener", "cause"]
        "Connections of clients that were closed, by what has ended them.";
    CLIENT_REQUESTS = Counter "client_requests_total" ["listener"]
        "Requests of clients whose head was received.";
    CLIENT_BYTES = Counter "client_bytes_total" ["listener", "direction"]
        "Bytes received from clients (in) and sent to them (out).";
    ACCEPT_ERRORS = Counter "accept_errors_total" ["listener"]
        "Failures to accept a connection for lack of file descriptors or memory.";
    RULE_MATCHES = Counter "rule_matches_total" ["rules", "rule"]
        "Requests that each rule has got.";
    RESPONSES = Counter "responses_total" ["load_balancer", "listener", "zone", "by", "class"]
        "Responses to clients by class of the status, and by who made them: target, load_balancer.";
    TCP_CONNECTIONS = Gauge "tcp_connections" ["relay"]
        "Connections that are relayed now.";
    TCP_CONNECTIONS_OPENED = Counter "tcp_connections_opened_total" ["relay"]
        "Connections that were relayed to a target.";
    TCP_CONNECTIONS_CLOSED = Counter "tcp_connections_closed_total" ["relay", "cause"]
        "Relayed connections that have ended, by the cause: closed, client_reset, target_reset, idle, terminated, cut_off.";
    TCP_CONNECT_FAILURES = Counter "tcp_connect_failures_total" ["relay", "reason"]
        "Attempts that have reached no target, by the reason.";
    TCP_BYTES = Counter "tcp_bytes_total" ["relay", "direction"]
        "Bytes that were relayed from clients to targets (in) and from targets to clients (out).";
    UDP_FLOWS = Gauge "udp_flows" ["relay"]
        "Flows that the relay has now.";
    UDP_FLOWS_CREATED = Counter "udp_flows_created_total" ["relay"]
        "Flows that have begun.";
    UDP_FLOWS_ENDED = Counter "udp_flows_ended_total" ["relay", "cause"]
        "Flows that have ended, by the cause: idle, evicted, unopened, stopped.";
    UDP_FLOWS_REPICKED = Counter "udp_flows_repicked_total" ["relay"]
        "How often a flow got another target because it had lost its own.";
    UDP_REQUESTS = Gauge "udp_requests_in_flight" ["relay"]
        "Requests of responders that have no reply yet.";
    UDP_DATAGRAMS = Counter "udp_datagrams_total" ["relay", "kind", "direction"]
        "Datagrams that came from clients (in) and replies that were sent to them (out), of relays of flows and of responders.";
    UDP_BYTES = Counter "udp_bytes_total" ["relay", "kind", "direction"]
        "The payload of the datagrams that came from clients (in) and were sent to them (out).";
    UDP_DROPPED = Counter "udp_datagrams_dropped_total" ["relay", "kind", "reason"]
        "Datagrams of both directions that were dropped, by the reason.";
    GENEVE_FLOWS = Gauge "geneve_flows" ["gateway"]
        "Flows that the gateway tracks now.";
    GENEVE_FLOWS_CREATED = Counter "geneve_flows_created_total" ["gateway"]
        "Flows that have begun.";
    GENEVE_FLOWS_EXPIRED = Counter "geneve_flows_expired_total" ["gateway", "cause"]
        "Flows that were forgotten, by the cause: idle, evicted. Flows that resets have ended are not among them.";
    GENEVE_FLOWS_REBALANCED = Counter "geneve_flows_rebalanced_total" ["gateway"]
        "How often a flow got another appliance because its own had failed.";
    GENEVE_PACKETS = Counter "geneve_packets_total" ["gateway", "direction"]
        "Packets that came from the network (in), were sent to appliances (to_appliances) and went back to the network (out).";
    GENEVE_BYTES = Counter "geneve_bytes_total" ["gateway", "direction"]
        "Bytes of the packets that came from the network (in) and went back to it (out).";
    GENEVE_RESETS = Counter "geneve_resets_total" ["gateway"]
        "Resets that were sent to sides of TCP connections.";
    GENEVE_DROPPED = Counter "geneve_packets_dropped_total" ["gateway", "reason"]
        "Packets that the gateway has dropped, by the reason. Those that appliances drop are not among them.";
    INSPECTOR_PACKETS = Counter "geneve_inspector_packets_total" ["inspector", "direction"]
        "Packets that the inspector has received (in) and returned (out).";
    INSPECTOR_DROPPED = Counter "geneve_inspector_packets_dropped_total" ["inspector", "reason"]
        "Packets that the inspector has not returned, by the reason.";
    LAMBDA_INVOCATIONS = Counter "lambda_invocations_total" ["billing"]
        "Invocations whose report was read.";
    LAMBDA_COLD_STARTS = Counter "lambda_cold_starts_total" ["billing"]
        "Invocations for which an environment was started.";
    LAMBDA_BILLED = Counter "lambda_billed_seconds_total" ["billing"]
        "The billed time.";
    LAMBDA_THROTTLES = Counter "lambda_throttles_total" ["throttles", "scope"]
        "Invocations that were throttled, by scope: function, region, caller.";
    LAMBDA_SHED = Counter "lambda_shed_total" ["throttles"]
        "Requests that were shed because the account is throttled.";
}
