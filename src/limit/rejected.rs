use std::{error::Error as StdError, fmt, time::Duration};

use crate::{Error, error::chain};

/// Why a request was turned away before any endpoint saw it.
///
/// No endpoint is charged for it, and no retry follows.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rejected {
    /// As many requests are under way as may be, and as many wait.
    QueueFull {
        /// How many may be under way, at that time.
        limit: u32,
    },
    /// It has waited for its turn as long as it may, or until its deadline.
    WaitedTooLong {
        /// How long.
        waited: Duration,
    },
    /// It waited, and requests that came later took its place, because under overload the newest are
    /// served first.
    Outdated,
    /// Too many requests are under way for one of its priority.
    Priority {
        /// How many may be under way for those.
        limit: u32,
    },
    /// So many were not accepted lately that trying would only add to the overload.
    Throttled {
        /// The share of requests that is turned away.
        share: f64,
    },
    /// There were more requests than the rate allows.
    Rate {
        /// When the next would be accepted.
        retry_after: Duration,
    },
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { limit } => {
                write!(f, "{limit} requests are under way, and no more may wait")
            }
            Self::WaitedTooLong { waited } => write!(f, "no turn within {waited:?}"),
            Self::Outdated => f.write_str("newer requests took its place in the queue"),
            Self::Priority { limit } => {
                write!(f, "{limit} requests are under way, too many for this priority")
            }
            Self::Throttled { share } => {
                write!(f, "{:.0} % of requests are not sent, as few are accepted", share * 100.0)
            }
            Self::Rate { retry_after } => write!(f, "too many requests, next in {retry_after:?}"),
        }
    }
}

impl StdError for Rejected {}

impl Rejected {
    /// The one among an error and its sources, if there is one.
    pub(crate) fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }
}

/// True if no endpoint has seen the request: the balancer had none for it, or a limit rejected it.
pub(crate) fn is_turned_away(error: &(dyn StdError + 'static)) -> bool {
    let is_unsent =
        |error: &(dyn StdError + 'static)| error.downcast_ref().is_some_and(Error::is_unsent);
    Rejected::find(error).is_some() || chain(error).any(is_unsent)
}
