//! Throttles: what they say, and how to avoid the next one.
//!
//! `shed` is not built on `limit::AdaptiveThrottle`, which counts every overload and sends K
//! requests per accepted one (at K = 1.1, 9 % are rejected). This one reacts only to
//! `ThrottleReason::CallerRate` and settles at about three throttles a second at any rate.

mod pauses;
mod shed;
mod status;
#[allow(clippy::module_inception)]
mod throttle;
mod throttles;

pub use self::{
    shed::{Shed, ShedFuture, ShedLayer},
    status::{ThrottleCounts, ThrottlesStatus},
    throttle::{Throttle, ThrottleReason, ThrottleScope},
    throttles::{AvoidThrottled, Throttles, TrackThrottles},
};
