use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{Error, error::chain, escape::Escaped};

/// A limit rejected a request. No endpoint has seen the request.
///
/// It is not charged to any endpoint, and is not retried.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    limit: Arc<str>,
    reason: RejectReason,
}

/// Why a limit rejected a request.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RejectReason {
    /// The concurrency limit is reached, and the queue is full.
    QueueFull {
        /// The concurrency limit at that time.
        limit: u32,
    },
    /// The request waited in the queue for the maximum time, or until its deadline.
    WaitedTooLong {
        /// How long it waited.
        waited: Duration,
    },
    /// The request waited in a full queue and was replaced by a newer one, under
    /// [`QueueOrder::AdaptiveLifo`](super::QueueOrder::AdaptiveLifo).
    Outdated,
    /// Too many requests are in flight for the request's priority.
    Priority {
        /// The concurrency limit of that priority.
        limit: u32,
    },
    /// The endpoints accepted so few of the recent requests that sending more would only add to
    /// their overload.
    Throttled {
        /// The share of requests that is rejected.
        share: f64,
    },
    /// The rate limit is exceeded.
    Rate {
        /// The time until a request would be accepted.
        retry_after: Duration,
    },
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { limit } => {
                write!(f, "{limit} requests are in flight, and the queue is full")
            }
            Self::WaitedTooLong { waited } => write!(f, "no permit within {waited:?}"),
            Self::Outdated => f.write_str("a newer request took its place in the queue"),
            Self::Priority { limit } => {
                write!(f, "{limit} requests are in flight, too many for this priority")
            }
            Self::Throttled { share } => {
                write!(f, "{:.0} % of requests are rejected, as few are accepted", share * 100.0)
            }
            Self::Rate { retry_after } => {
                write!(f, "the rate limit is exceeded: retry after {retry_after:?}")
            }
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected by {}: {}", Escaped(&self.limit), self.reason)
    }
}

impl StdError for Rejected {}

impl Rejected {
    /// Creates the error of the limit with this name, for limits outside this crate.
    pub fn new(limit: impl Into<Arc<str>>, reason: RejectReason) -> Self {
        Self { limit: limit.into(), reason }
    }

    /// Returns the name of the limit.
    #[must_use]
    pub fn limit(&self) -> &str {
        &self.limit
    }

    /// Returns why the request was rejected.
    #[must_use]
    pub fn reason(&self) -> RejectReason {
        self.reason
    }

    /// Finds this error in `error` and its sources.
    pub(crate) fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }
}

/// Returns true if no endpoint has seen the request: a limit rejected it, or the balancer had no
/// endpoint for it.
pub(crate) fn is_rejected(error: &(dyn StdError + 'static)) -> bool {
    let is_unsent =
        |error: &(dyn StdError + 'static)| error.downcast_ref().is_some_and(Error::is_unsent);
    Rejected::find(error).is_some() || chain(error).any(is_unsent)
}
