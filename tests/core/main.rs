//! What the crate promises, against test doubles and in virtual time.

mod absurd_times;
mod allocations;
mod anomaly;
mod attempts;
mod await_probes;
mod balancer;
mod broadcast;
mod circuit_breaker;
mod combinators;
mod composition;
mod counters;
mod custom_strategy;
mod discover;
mod draining;
mod ejection_under_overload;
mod escaping;
mod explain;
mod failover;
mod figures;
mod hashing;
mod health;
mod hedge;
mod limit;
mod loads;
mod matrix;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod model;
#[cfg(feature = "metrics")]
mod monitoring;
mod new_targets;
mod observe;
mod outliers;
mod overload_backoff;
mod panic_table;
mod polled_after_completion;
mod refresh;
mod reports;
mod retry;
mod slow_start;
mod strategies;
mod subset;
mod tiers;
mod timeout;
#[cfg(feature = "http")]
mod tracing_spans;
mod traffic;
mod waiting;
mod weighted_round_robin;
mod wrappers;
mod zones;
