mod attempt_timeout;
#[cfg(feature = "http-client")]
#[allow(clippy::module_inception)]
mod client;
mod origin;
mod set_origin;

#[cfg(feature = "http-client")]
pub use self::client::{Client, Pool};
pub use self::{
    attempt_timeout::{AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer},
    origin::{InvalidOrigin, Origin},
    set_origin::{HostHeader, SetOrigin},
};
