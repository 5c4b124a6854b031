//! HTTP clients as endpoints: where they send requests, and how long an attempt may take.
//!
//! With feature `http-client`, `Pool` creates a `Client` for each endpoint, a pool of connections.
//! [`SetOrigin`] sends the requests of another client to an [`Origin`]. [`AttemptTimeout`] limits
//! an attempt including its response body.
//!
//! A request passes `client` (its future), `message` (its form), `endpoint` (the connections, and
//! the queue of requests that wait for one), and `http1` or `http2` (a connection and its driver).
//! `opening` is the task of a connection, which dials by `connect` and `tls`.

mod attempt_timeout;
#[cfg(feature = "http-client")]
mod body;
#[cfg(feature = "http-client")]
#[allow(clippy::module_inception)]
mod client;
#[cfg(feature = "http-client")]
mod connect;
#[cfg(feature = "http-client")]
mod endpoint;
mod host_header;
#[cfg(feature = "http-client")]
mod http1;
#[cfg(feature = "http-client")]
mod http2;
#[cfg(feature = "http-client")]
mod message;
#[cfg(feature = "http-client")]
mod opening;
mod origin;
#[cfg(feature = "http-client")]
mod pool;
#[cfg(feature = "http-client")]
mod sent_error;
mod set_origin;
#[cfg(feature = "http-client")]
mod status;
#[cfg(all(feature = "http-client", feature = "tls"))]
mod tls;
#[cfg(all(feature = "http-client", feature = "tls"))]
mod unverified;

#[cfg(all(feature = "http-client", feature = "tls"))]
pub use self::tls::{Tls, TlsBuilder};
pub use self::{
    attempt_timeout::{AttemptBody, AttemptTimeout, AttemptTimeoutFuture, AttemptTimeoutLayer},
    host_header::HostHeader,
    origin::Origin,
    set_origin::SetOrigin,
};
#[cfg(feature = "http-client")]
pub use self::{
    body::ClientBody,
    client::{Client, ClientFuture},
    pool::Pool,
    status::{ConnectFailures, PoolStatus},
};
