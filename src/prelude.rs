//! The items that most users need, to be imported with `use tower_lb::prelude::*`.
//!
//! It contains no modules, so that it does not conflict with the crate `http`, and no error types,
//! so that it does not conflict with those of other crates.

#[cfg(feature = "http-client")]
pub use crate::http::Pool;
#[cfg(feature = "http")]
pub use crate::http::{GatewayLayer, Origin, resilient};
pub use crate::{
    balance::{Balancer, Builder},
    discover::{Discover, DiscoverExt, Update},
    endpoint::{Endpoint, Health},
    failover::FailoverLayer,
    health::{CircuitBreaker, HealthCheck, HealthExt, OutlierDetection, SlowStart},
    hedge::HedgeLayer,
    limit::ConcurrencyLimitLayer,
    outcome::{Classify, Outcome},
    retry::{Budget, RetryLayer},
    strategy::{LeastLoaded, Maglev, P2c, Pick, RoundRobin, Strategy},
};
