//! Errors: of requests ([`Error`]), of settings ([`ConfigError`]) and of texts ([`ParseError`]).

mod chain;
mod config_error;
#[allow(clippy::module_inception)]
mod error;
mod parse_error;
mod unavailable;

pub(crate) use self::chain::chain;
pub use self::{
    config_error::ConfigError, error::Error, parse_error::ParseError, unavailable::Unavailable,
};

/// The type-erased error that tower's services use.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
