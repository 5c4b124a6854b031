//! HTTP clients as endpoints: where they send requests, and how long an attempt may take.
//!
//! [`SetOrigin`] sends requests to an [`Origin`]. With feature `http-client`, `Pool` creates a
//! pooled [`Client`] for each endpoint. [`AttemptTimeout`] limits an attempt including its response
//! body.

mod attempt_timeout;
#[cfg(feature = "http-client")]
#[allow(clippy::module_inception)]
mod client;
#[cfg(feature = "http-client")]
mod error;
mod origin;
mod set_origin;

pub use self::{
    attempt_timeout::{AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer},
    origin::Origin,
    set_origin::{HostHeader, SetOrigin},
};
#[cfg(feature = "http-client")]
pub use self::{
    client::{Client, Pool},
    error::{ClientError, ClientErrorKind},
};
