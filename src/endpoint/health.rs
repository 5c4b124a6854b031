use std::{fmt, sync::Arc};

use crate::escape::Escaped;

/// Whether an endpoint should get new requests, and why not if it should not.
///
/// The reason is free text for people; nothing decides by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Serves normally. The default.
    #[default]
    Healthy,
    /// Serves, but others should be preferred. Strategies without a notion of preference treat it
    /// as healthy.
    Degraded(Arc<str>),
    /// Should get no request while others can serve.
    Unhealthy(Arc<str>),
    /// Finishes the requests it has and gets no new one.
    Draining(Arc<str>),
}

impl Health {
    /// [`Health::Degraded`] for the given reason.
    pub fn degraded(reason: impl Into<Arc<str>>) -> Self {
        Self::Degraded(reason.into())
    }

    /// [`Health::Unhealthy`] for the given reason.
    pub fn unhealthy(reason: impl Into<Arc<str>>) -> Self {
        Self::Unhealthy(reason.into())
    }

    /// [`Health::Draining`] for the given reason.
    pub fn draining(reason: impl Into<Arc<str>>) -> Self {
        Self::Draining(reason.into())
    }

    /// True if new requests may go there: healthy or degraded.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded(_))
    }

    /// This, or the other if that is worse: several opinions on one endpoint come to one. Draining is
    /// the worst, because nothing that goes on in the endpoint can end it.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }

    fn severity(&self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Degraded(_) => 1,
            Self::Unhealthy(_) => 2,
            Self::Draining(_) => 3,
        }
    }

    /// Why the endpoint is not healthy; `None` if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Degraded(reason) | Self::Unhealthy(reason) | Self::Draining(reason) => {
                Some(reason)
            }
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Degraded(reason) => write!(f, "degraded: {}", Escaped(reason)),
            Self::Unhealthy(reason) => write!(f, "unhealthy: {}", Escaped(reason)),
            Self::Draining(reason) => write!(f, "draining: {}", Escaped(reason)),
        }
    }
}
