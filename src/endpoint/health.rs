use std::{fmt, sync::Arc};

use crate::escape::Escaped;

/// Whether an endpoint should get new requests, and the reason if it should not.
///
/// The reason is text for people; no decision depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Serves normally. The default.
    #[default]
    Healthy,
    /// Serves, but other endpoints are preferred. Strategies without preferences treat it as
    /// healthy.
    Degraded(Arc<str>),
    /// Should get no request while other endpoints can serve.
    Unhealthy(Arc<str>),
    /// Finishes its requests and gets no new one.
    Draining(Arc<str>),
}

impl Health {
    /// Returns [`Health::Degraded`] with a reason.
    pub fn degraded(reason: impl Into<Arc<str>>) -> Self {
        Self::Degraded(reason.into())
    }

    /// Returns [`Health::Unhealthy`] with a reason.
    pub fn unhealthy(reason: impl Into<Arc<str>>) -> Self {
        Self::Unhealthy(reason.into())
    }

    /// Returns [`Health::Draining`] with a reason.
    pub fn draining(reason: impl Into<Arc<str>>) -> Self {
        Self::Draining(reason.into())
    }

    /// Returns true if the endpoint may get new requests: it is healthy or degraded.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded(_))
    }

    /// Returns the worse of the two, which combines the results of several stages. Draining is the
    /// worst, because no recovery of the endpoint ends it.
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

    /// Returns the state without the reason: `healthy`, `degraded`, `unhealthy` or `draining`.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Unhealthy(_) => "unhealthy",
            Self::Draining(_) => "draining",
        }
    }

    /// Returns the reason why the endpoint is not healthy; `None` if it is.
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
        f.write_str(self.state())?;
        match self.reason() {
            Some(reason) => write!(f, ": {}", Escaped(reason)),
            None => Ok(()),
        }
    }
}
