use std::time::Duration;

use tokio::time::Instant;

use super::latencies::Latencies;
use crate::InvalidConfig;

/// How long an attempt may take before another is sent beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delay {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Never,
    Fixed(Duration),
    Quantile(f64),
}

impl Delay {
    /// For ever: nothing is hedged, and the layer costs nothing.
    #[must_use]
    pub const fn never() -> Self {
        Self { kind: Kind::Never }
    }

    /// Always so long.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { kind: Kind::Fixed(delay) }
    }

    /// As long as this share of the answers takes, 0.99 for the 99th percentile, and at least 1 ms.
    ///
    /// Measured over the good answers to requests that may be hedged, in the last 20 to 40 s, to within 13 %, once a
    /// second. Nothing is hedged until 100 answers have come.
    #[must_use]
    pub const fn quantile(share: f64) -> Self {
        Self { kind: Kind::Quantile(share) }
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_never(self) -> bool {
        matches!(self.kind, Kind::Never)
    }

    pub(super) fn check(self) -> Result<(), InvalidConfig> {
        match self.kind {
            Kind::Never => Ok(()),
            Kind::Fixed(delay) => InvalidConfig::unless(
                !delay.is_zero(),
                "a hedging delay of 0 doubles every request: set it to what nearly all answers take",
            ),
            Kind::Quantile(share) => InvalidConfig::unless(
                share > 0.0 && share < 1.0,
                "the hedging quantile is not between 0 and 1: set the share of answers that come \
                 without a hedge, 0.99 for example",
            ),
        }
    }

    /// If it is known beforehand.
    #[cfg(feature = "http")]
    pub(crate) fn known(self) -> Option<Duration> {
        match self.kind {
            Kind::Fixed(delay) => Some(delay),
            Kind::Never | Kind::Quantile(_) => None,
        }
    }

    pub(super) fn into_clock(self) -> Clock {
        match self.kind {
            Kind::Never => Clock::Stopped,
            Kind::Fixed(delay) => Clock::Fixed(delay),
            Kind::Quantile(share) => Clock::Measured(Box::new(Latencies::new(share))),
        }
    }
}

/// Tells the delay, and learns from answers if it must.
#[derive(Debug)]
pub(super) enum Clock {
    Stopped,
    Fixed(Duration),
    Measured(Box<Latencies>),
}

impl Clock {
    /// The start of an attempt, if that is needed.
    #[inline]
    pub(super) fn start(&self) -> Option<Instant> {
        match self {
            Self::Stopped | Self::Fixed(_) => None,
            Self::Measured(_) => Some(Instant::now()),
        }
    }

    /// `None` as long as it is not known.
    #[inline]
    pub(super) fn delay(&self) -> Option<Duration> {
        match self {
            Self::Stopped => None,
            Self::Fixed(delay) => Some(*delay),
            Self::Measured(latencies) => latencies.quantile(),
        }
    }

    /// An answer has come, or one would have come later than now.
    #[inline]
    pub(super) fn answered(&self, started: Instant) {
        if let Self::Measured(latencies) = self {
            latencies.record(started, Instant::now());
        }
    }
}
