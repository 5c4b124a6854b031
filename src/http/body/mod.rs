//! Response bodies that end an attempt, release a permit, or fail when they stall.
//!
//! [`UntilBodyEnd`] is the tracker of HTTP balancers and wraps each body into a [`TrackedBody`];
//! `follow_attempts` carries the attempts of one request in its extensions. [`HeldBody`] holds a
//! guard until the body ends. [`IdleBodyTimeout`] fails a body that stalls, [`IdleTimeout`] a whole
//! exchange.

use std::task::Poll;

use http_body::Frame;

use crate::BoxError;

mod follow_attempts;
mod idle_body;
mod idle_exchange;
mod permit_body;
mod switched;
mod tracked_body;
mod until_body_end;

pub use self::{
    idle_body::{IdleBody, IdleBodyFuture, IdleBodyTimeout, IdleBodyTimeoutLayer},
    idle_exchange::{IdleTimeout, IdleTimeoutFuture, IdleTimeoutLayer, ObservedBody},
    permit_body::{HeldBody, PermitUntilBodyEnd},
    tracked_body::TrackedBody,
    until_body_end::{HttpBalancer, UntilBodyEnd},
};

/// What `Body::poll_frame` returns.
pub(super) type PollFrame<D, E = BoxError> = Poll<Option<Result<Frame<D>, E>>>;
