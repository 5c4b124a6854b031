use std::{error::Error as StdError, fmt, io, sync::Arc};

use crate::endpoint::{EndpointId, Health};

/// The error type that tower's services agree on.
pub type BoxError = Box<dyn StdError + Send + Sync>;

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

/// Why none of a balancer's endpoints can get a request.
///
/// Each endpoint is counted once, by the first of the reasons in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// How many endpoints there are.
    pub endpoints: usize,
    /// How many may get requests, but are not ready for one. An unhealthy one that a panic rule lets
    /// requests go to is counted here.
    pub not_ready: usize,
    /// How many are draining.
    pub draining: usize,
    /// How many are unhealthy, including ejected ones.
    pub unhealthy: usize,
    /// How many have weight 0.
    pub zero_weight: usize,
    /// How many would be eligible, but are excluded by a rule of the strategy.
    pub excluded: usize,
    /// The name and the health of one that is unhealthy, or else draining.
    pub example: Option<(Arc<str>, Health)>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "none of {} endpoints is available", self.endpoints)?;
        let causes = [
            (self.unhealthy, "unhealthy"),
            (self.draining, "draining"),
            (self.zero_weight, "of weight 0"),
            (self.excluded, "excluded by the strategy"),
            (self.not_ready, "not ready"),
        ];
        let mut separator = ": ";
        for (count, cause) in causes.into_iter().filter(|&(count, _)| count > 0) {
            write!(f, "{separator}{count} {cause}")?;
            separator = ", ";
        }
        match &self.example {
            Some((name, health)) => write!(f, " ({name} is {health})"),
            None => Ok(()),
        }
    }
}

/// An error and what is behind it. An `io::Error` made of another leaves that one out of its sources, so
/// it is asked for it.
pub(crate) fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// A configuration that contradicts itself, or could never work. `Display` says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidConfig(&'static str);

impl InvalidConfig {
    /// `valid`, or else the advice.
    pub(crate) fn unless(valid: bool, advice: &'static str) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self(advice)) }
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for InvalidConfig {}
