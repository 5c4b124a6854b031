use std::{error::Error as StdError, fmt, sync::Arc};

use super::{BoxError, Unavailable, chain};
use crate::{endpoint::EndpointId, escape::Escaped};

/// The error of a balancer.
///
/// `balancer` is the [name](crate::balance::Builder::name) of the balancer, if it has one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No endpoint is known: none has been discovered yet, or the last one was removed.
    NoEndpoints {
        /// The balancer's name.
        balancer: Option<Arc<str>>,
    },
    /// There are endpoints, but none can get the request. All are unhealthy, draining, of weight 0
    /// or excluded by the strategy, or none gets ready.
    Unavailable(Unavailable),
    /// All endpoints have `max_outstanding` requests in flight.
    Overloaded {
        /// The balancer's name.
        balancer: Option<Arc<str>>,
        /// The limit of each endpoint.
        max_outstanding: u32,
    },
    /// The strategy picked no endpoint for this request, although some had room.
    Refused {
        /// The balancer's name.
        balancer: Option<Arc<str>>,
    },
    /// No endpoint is known and none will be: the stream of endpoints has ended, or the driver was
    /// dropped. (If there are endpoints and none can get requests, the error is
    /// [`Unavailable`](Self::Unavailable).)
    Closed {
        /// The balancer's name.
        balancer: Option<Arc<str>>,
    },
    /// The endpoint's own error.
    Endpoint {
        /// The balancer's name.
        balancer: Option<Arc<str>>,
        /// The endpoint; it displays as its key.
        endpoint: EndpointId,
        /// The error of its service.
        source: BoxError,
    },
}

impl Error {
    /// Returns the balancer's error among the sources of `error`: layers around a balancer wrap it.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        chain(error).find_map(|error| error.downcast_ref())
    }

    /// Returns the name of the balancer; `None` if it has none.
    #[must_use]
    pub fn balancer(&self) -> Option<&str> {
        match self {
            Self::Unavailable(Unavailable { balancer, .. })
            | Self::NoEndpoints { balancer }
            | Self::Overloaded { balancer, .. }
            | Self::Refused { balancer }
            | Self::Closed { balancer }
            | Self::Endpoint { balancer, .. } => balancer.as_deref(),
        }
    }

    /// Returns the key, as text, of the endpoint that failed; `None` if the request reached none.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::Endpoint { endpoint, .. } => Some(endpoint.name()),
            _ => None,
        }
    }

    /// Returns the id of the endpoint that failed; `None` if the request reached none.
    #[must_use]
    pub fn endpoint_id(&self) -> Option<&EndpointId> {
        match self {
            Self::Endpoint { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }

    /// Returns true if the request was sent to no endpoint.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        !matches!(self, Self::Endpoint { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(balancer) = self.balancer() {
            write!(f, "balancer {}: ", Escaped(balancer))?;
        }
        match self {
            Self::NoEndpoints { .. } => f.write_str("no endpoints discovered"),
            Self::Unavailable(unavailable) => unavailable.fmt(f),
            Self::Overloaded { max_outstanding, .. } => {
                write!(f, "all endpoints have {max_outstanding} requests outstanding")
            }
            Self::Refused { .. } => f.write_str("the strategy found no endpoint for the request"),
            Self::Closed { .. } => f.write_str("no endpoints, and discovery has ended"),
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
