use std::time::Duration;

/// What a finished request says about its endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint did its work, whatever the response means to the caller.
    Success,
    /// The endpoint responded that it could not do its work, as with HTTP 500.
    ApplicationError,
    /// The endpoint works but has too much to do, as with HTTP 429 and 503.
    Overload {
        /// The time after which the endpoint asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// There was no response: connecting, sending or receiving failed.
    TransportFailure,
    /// There was no response within the time limit.
    Timeout,
    /// The caller dropped the request, or it failed by the caller's fault. This says about the
    /// endpoint only that it took at least that time.
    Cancelled,
}

impl Outcome {
    /// Returns the outcome's name for logs and metrics: `success`, `application_error`, `overload`,
    /// `transport_failure`, `timeout` or `cancelled`. The names stay the same in later versions.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ApplicationError => "application_error",
            Self::Overload { .. } => "overload",
            Self::TransportFailure => "transport_failure",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns true for all but [`Success`](Self::Success) and [`Cancelled`](Self::Cancelled).
    #[inline]
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Success | Self::Cancelled)
    }

    /// Returns the time after which the endpoint asked to be tried again, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overload { retry_after } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users store the names in metrics.
    #[test]
    fn names_never_change() {
        let names = [
            (Outcome::Success, "success"),
            (Outcome::ApplicationError, "application_error"),
            (Outcome::Overload { retry_after: None }, "overload"),
            (Outcome::TransportFailure, "transport_failure"),
            (Outcome::Timeout, "timeout"),
            (Outcome::Cancelled, "cancelled"),
        ];
        assert!(names.iter().all(|(outcome, name)| outcome.as_str() == *name));
    }
}
