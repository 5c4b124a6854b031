//! Errors: why a request was not answered, which setting is invalid, which text cannot be parsed.

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

/// The error type that tower's services agree on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
