use std::{error::Error as StdError, fmt};

use crate::BoxError;

/// An error that is the caller's fault: the request is invalid, or its body failed.
///
/// Endpoints' services wrap errors in it that say nothing about the endpoint, for example those of
/// a client library that refuses the request. Such an error is not charged to the endpoint
/// ([`Outcome::Cancelled`](super::Outcome::Cancelled)) and is not retried.
///
/// The errors of hyper, hyper-util, h2 and this crate need no wrapper.
///
/// ```
/// use tower_lb::outcome::{CallerError, Outcome};
///
/// let invalid = "a/b".parse::<std::net::IpAddr>().unwrap_err();
/// assert_eq!(Outcome::of_error(&CallerError::new(invalid)), Outcome::Cancelled);
/// ```
#[derive(Debug)]
pub struct CallerError(BoxError);

impl CallerError {
    /// Wraps `source`.
    pub fn new(source: impl Into<BoxError>) -> Self {
        Self(source.into())
    }
}

impl fmt::Display for CallerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller's request failed")
    }
}

impl StdError for CallerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}
