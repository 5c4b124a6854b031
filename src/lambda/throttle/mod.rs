//! Throttles: what they say, and how to avoid the next one.
//!
//! `shed` is not built on `limit::AdaptiveThrottle`. That one counts the accepted share of two
//! minutes, sends K requests per accepted one (so at least 9 % of what it sends is rejected at K =
//! 1.1), and counts every overload. This one reacts only to `ThrottleReason::CallerRate`, needs no
//! counts of accepted requests, and settles at about three throttles a second at any rate.

mod pauses;
mod shed;
#[allow(clippy::module_inception)]
mod throttle;
mod throttles;

pub use self::{
    shed::{Shed, ShedFuture, ShedLayer},
    throttle::{Throttle, ThrottleReason, ThrottleScope},
    throttles::{AvoidThrottled, Throttles, TrackThrottles},
};
