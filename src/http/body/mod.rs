mod carry;
mod held_body;
mod idle_body;
mod tracked_body;
mod until_body_end;

pub use self::{
    held_body::{HeldBody, HoldUntilBodyEnd},
    idle_body::{IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer},
    tracked_body::TrackedBody,
    until_body_end::{Balancer, UntilBodyEnd, builder},
};
