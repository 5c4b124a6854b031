use std::{error::Error as StdError, fmt, time::Duration};

/// The error of an operation that exceeded its time limit.
///
/// If an endpoint fails with it, the outcome is a [`Timeout`](super::Outcome::Timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    bound: Bound,
    limit: Duration,
}

/// What a time limit limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Connecting.
    Connect,
    /// From sending an attempt to the beginning of its response.
    FirstByte,
    /// From sending an attempt to the end of its response's body.
    Attempt,
    /// From one piece of a response's body to the next.
    IdleBody,
    /// From the first attempt to the beginning of the returned response, all attempts included.
    Overall,
}

impl Elapsed {
    pub(crate) fn new(bound: Bound, limit: Duration) -> Self {
        Self { bound, limit }
    }

    /// Returns what took too long.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// Returns the time limit.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.bound {
            Bound::Connect => "no connection",
            Bound::FirstByte => "no response",
            Bound::Attempt => "no complete response",
            Bound::IdleBody => "nothing more of the response's body",
            Bound::Overall => "no response, all attempts included,",
        };
        write!(f, "{what} within {:?}", self.limit)
    }
}

impl StdError for Elapsed {}
