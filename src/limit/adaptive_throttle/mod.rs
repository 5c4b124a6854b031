//! Rejects requests that the endpoints would most likely not accept.

mod counts;
mod service;

pub use self::service::{AdaptiveThrottle, AdaptiveThrottleFuture, AdaptiveThrottleLayer};
use super::{Rejected, is_turned_away};
