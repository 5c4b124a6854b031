//! The cases, in the order of the table.

mod http;
mod lambda;
mod plain;
mod tower;

use crate::case::Case;

pub const CASES: &[Case] = &[
    Case::new("direct call", plain::direct),
    Case::new("random", plain::random),
    Case::new("round robin", plain::round_robin),
    Case::new("p2c, outstanding", plain::p2c_outstanding),
    Case::new("p2c, default", plain::p2c_default),
    Case::new("p2c, default, a clone per request", plain::clone_per_request),
    Case::new("p2c, peak EWMA", plain::p2c_peak_ewma),
    Case::new("least loaded of five", plain::least_loaded_of_five),
    Case::new("tower Balance, pending requests", tower::pending_requests),
    Case::new("tower Balance, peak EWMA", tower::peak_ewma),
    Case::new("maglev", plain::maglev),
    Case::new("ring", plain::ring),
    Case::new("rendezvous", plain::rendezvous),
    Case::new("maglev, bounded load", plain::bounded_maglev),
    Case::new("random in zones", plain::zones),
    Case::new("random in tiers", plain::tiers),
    Case::new("random with a panic rule", plain::panic),
    Case::new("random as a trait object", plain::dynamic),
    Case::new("random, named and observed", plain::named),
    Case::new("random, durations measured", plain::durations),
    Case::new("p2c, default, max_outstanding", plain::max_outstanding),
    Case::new("p2c, default, concurrency limit", plain::concurrency_limit),
    Case::new("p2c, default, adaptive throttle", plain::adaptive_throttle),
    Case::new("p2c, default, rate limit", plain::rate_limit),
    Case::new("http, direct call", http::direct),
    Case::new("http, p2c default", http::balancer),
    Case::new("http, p2c default, two frames of body", http::body),
    Case::new("http, p2c default, resilient", http::resilient),
    Case::new("lambda, 2 KB request to event", lambda::encode),
    Case::new("lambda, 2 KB answer to response", lambda::decode),
    Case::new("lambda, function behind p2c", lambda::function),
];
