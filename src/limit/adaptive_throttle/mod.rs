//! Rejects requests that the endpoints would most likely not accept.

mod future;
mod layer;
mod recent_counts;
mod service;

pub use self::{
    future::AdaptiveThrottleFuture, layer::AdaptiveThrottleLayer, service::AdaptiveThrottle,
};
use super::{Rejected, is_rejected};
