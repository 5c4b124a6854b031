//! Throttles: what they say, and how to avoid the next one.
//!
//! `throttle` has the reasons and scopes of a throttle. `throttles` remembers them; its parts are a
//! tracker that learns (`track_throttles`), a strategy that leaves out endpoints
//! (`avoid_throttled`, with `pauses` of a `domain`), and a layer that sheds requests (`shed`, with
//! `shed_share`).
//!
//! `shed` is not built on `limit::AdaptiveThrottle`. That one counts the accepted share of two
//! minutes, sends K requests per accepted one (so at least 9 % of what it sends is rejected at K =
//! 1.1), and counts every overload. This one reacts only to `ThrottleReason::CallerRate`, needs no
//! counts of accepted requests, and settles at about three throttles a second at any rate.

mod avoid_throttled;
mod domain;
mod pauses;
mod shed;
mod shed_share;
#[allow(clippy::module_inception)]
mod throttle;
mod throttles;
mod track_throttles;

pub use self::{
    avoid_throttled::AvoidThrottled,
    shed::{Shed, ShedFuture, ShedLayer},
    throttle::{Throttle, ThrottleReason, ThrottleScope},
    throttles::Throttles,
    track_throttles::TrackThrottles,
};
