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
