mod carry;
mod idle_body;
mod permit_body;
mod tracked_body;
mod until_body_end;

pub use self::{
    idle_body::{IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer},
    permit_body::{HeldBody, PermitUntilBodyEnd},
    tracked_body::TrackedBody,
    until_body_end::{Balancer, UntilBodyEnd, builder},
};
