use std::time::Duration;

/// What a finished request said about its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work, whatever the answer meant to the caller.
    Success,
    /// The endpoint answered that it could not do its work, as HTTP 500 does.
    ApplicationError,
    /// The endpoint is fine but has too much to do, as HTTP 429 and 503 say.
    Overload {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// No answer: connecting, sending or receiving failed.
    TransportFailure,
    /// No answer in the time it had.
    Timeout,
    /// The caller lost interest; says nothing of the endpoint but that it took at least so long.
    Cancelled,
}

impl Outcome {
    /// True for all but [`Success`](Self::Success) and [`Cancelled`](Self::Cancelled).
    #[inline]
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Success | Self::Cancelled)
    }

    /// How long the endpoint asked to be left alone, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overload { retry_after } => *retry_after,
            _ => None,
        }
    }
}
