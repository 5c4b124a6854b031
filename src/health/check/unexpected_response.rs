use std::{error::Error as StdError, fmt};

/// The error of a check whose endpoint responded, but not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnexpectedResponse(String);

impl UnexpectedResponse {
    /// Creates the error. `what` says what the response was: "response status 500".
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for UnexpectedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for UnexpectedResponse {}
