use std::{error::Error as StdError, fmt, io};

use crate::ConfigError;

/// Why a [`Listener`](super::Listener) could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// A setting is invalid.
    Config(ConfigError),
    /// A socket could not be opened, bound or listened on.
    Socket {
        /// The address, as the setting names it.
        address: String,
        /// What the operating system has answered.
        error: io::Error,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Socket { address, error } => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl StdError for ListenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Socket { error, .. } => Some(error),
        }
    }
}

impl From<ConfigError> for ListenError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
