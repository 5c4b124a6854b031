//! Errors: of requests ([`Error`]), of settings ([`ConfigError`]) and of texts ([`ParseError`]).
//!
//! The errors of the HTTP client, of TCP relays and of request signing are here too, because every
//! floor asks whose fault they are. The modules that make them re-export them.

mod chain;
#[cfg(feature = "http-client")]
mod client_error;
mod config_error;
#[allow(clippy::module_inception)]
mod error;
mod local_lack;
mod parse_error;
#[cfg(feature = "tcp")]
mod relay_error;
#[cfg(feature = "sigv4")]
mod sign_error;
mod unavailable;

#[cfg(feature = "http-client")]
pub use self::client_error::{ClientError, ClientErrorKind};
#[cfg(feature = "tcp")]
pub use self::relay_error::{RelayError, RelayErrorKind};
#[cfg(feature = "sigv4")]
pub use self::sign_error::SignError;
pub(crate) use self::{chain::chain, local_lack::is_local_lack};
pub use self::{
    config_error::ConfigError, error::Error, parse_error::ParseError, unavailable::Unavailable,
};

/// The type-erased error that tower's services use.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
