use std::{error::Error as StdError, fmt};

use super::{BoxError, Unavailable, chain};
use crate::endpoint::EndpointId;

/// Why a balancer did not answer a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Discovery knows no endpoint: none has been found yet, or the last was removed.
    NoEndpoints,
    /// There are endpoints, but none can get the request: all are unhealthy, draining, of weight 0 or
    /// excluded by the strategy, or none gets ready for it.
    Unavailable(Unavailable),
    /// All endpoints have as many requests in flight as they may.
    Overloaded {
        /// How many each may have.
        max_outstanding: u32,
    },
    /// The strategy found no endpoint for this request, though some could have taken it.
    Refused,
    /// There is no endpoint and there will be none: the stream of endpoints has ended, or the driver
    /// was dropped. (With endpoints of which none can get requests it is
    /// [`Unavailable`](Self::Unavailable).)
    Closed,
    /// The endpoint's own error.
    Endpoint {
        /// The endpoint; `Display` gives its key.
        endpoint: EndpointId,
        /// What its service failed with.
        source: BoxError,
    },
}

impl Error {
    /// The balancer's error behind others: layers around a balancer pass it on as a source.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// The key, as text, of the endpoint that failed; `None` if the request reached none.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Endpoint { endpoint, .. } => Some(endpoint.name()),
            _ => None,
        }
    }

    /// The endpoint that failed, down to the instance; `None` if the request reached none.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&EndpointId> {
        match self {
            Self::Endpoint { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }

    /// True if no endpoint has seen the request.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Endpoint { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoints => f.write_str("no endpoints discovered"),
            Self::Unavailable(unavailable) => unavailable.fmt(f),
            Self::Overloaded { max_outstanding } => {
                write!(f, "all endpoints have {max_outstanding} requests outstanding")
            }
            Self::Refused => f.write_str("the strategy found no endpoint for the request"),
            Self::Closed => f.write_str("no endpoints, and discovery has ended"),
            Self::Endpoint { endpoint, .. } => write!(f, "endpoint {endpoint} failed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Endpoint { source, .. } => Some(&**source),
            _ => None,
        }
    }
}
