//! Passive monitoring: what requests show about the health of an endpoint.
//!
//! A stage puts a [meter](crate::outcome::Meter) on each endpoint. It counts outcomes on the
//! request path, without a lock, and sends the stage an event when a threshold is crossed. Outlier
//! detection uses the [`PassiveMonitor`](monitor::PassiveMonitor); the circuit breaker has a
//! simpler meter of its own, made of the same parts.
//!
//! - `monitor`: the meter of outlier detection.
//! - `consecutive`, `trial`, `severity`: its parts, which count consecutive failures, decide
//!   trials, and rank endpoints by their last 16 requests.
//! - `interval_stats`: what one endpoint did in an interval, which the rules for outliers compare.

pub(super) mod consecutive;
pub(super) mod interval_stats;
pub(super) mod monitor;
pub(super) mod severity;
pub(super) mod trial;
