use std::time::Duration;

use tokio::time::Instant;

use super::latencies::Latencies;
use crate::ConfigError;

/// How long an attempt may take before a hedge is sent.
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
    /// No request is hedged, and the layer costs nothing.
    #[must_use]
    pub const fn never() -> Self {
        Self { kind: Kind::Never }
    }

    /// A fixed delay.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Self {
        Self { kind: Kind::Fixed(delay) }
    }

    /// The time within which this share of the responses begins, at least 1 ms; 0.99 is the 99th
    /// percentile.
    ///
    /// It is computed once a second, to within 13 %, from the successful responses of the last 20
    /// to 40 s to requests that may be hedged. Nothing is hedged before 100 responses.
    #[must_use]
    pub const fn quantile(share: f64) -> Self {
        Self { kind: Kind::Quantile(share) }
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_never(self) -> bool {
        matches!(self.kind, Kind::Never)
    }

    pub(super) fn check(self) -> Result<(), ConfigError> {
        match self.kind {
            Kind::Never => Ok(()),
            Kind::Fixed(delay) => ConfigError::if_zero_time("delay", delay),
            Kind::Quantile(share) => ConfigError::unless(
                share > 0.0 && share < 1.0,
                "delay",
                share,
                "a quantile above 0 and below 1, such as 0.99",
            ),
        }
    }

    /// Returns the delay if it is fixed.
    pub(crate) fn known(self) -> Option<Duration> {
        match self.kind {
            Kind::Fixed(delay) => Some(delay),
            Kind::Never | Kind::Quantile(_) => None,
        }
    }

    pub(super) fn into_source(self) -> DelaySource {
        let latencies = match self.kind {
            Kind::Quantile(share) => Some(Box::new(Latencies::new(share))),
            Kind::Never | Kind::Fixed(_) => None,
        };
        DelaySource { fixed: self.known(), latencies }
    }
}

/// Returns the current delay, and measures it if necessary.
#[derive(Debug)]
pub(super) struct DelaySource {
    fixed: Option<Duration>,
    latencies: Option<Box<Latencies>>,
}

impl DelaySource {
    /// Returns the start of an attempt; `None` if latencies are not measured.
    #[inline]
    pub(super) fn start(&self) -> Option<Instant> {
        self.latencies.as_ref().map(|_| Instant::now())
    }

    /// Returns the delay; `None` if it is not known yet.
    #[inline]
    pub(super) fn delay(&self) -> Option<Duration> {
        self.fixed.or_else(|| self.latencies.as_ref()?.quantile())
    }

    /// Records a successful response, as the latency since `started`.
    #[inline]
    pub(super) fn record(&self, started: Instant) {
        if let Some(latencies) = &self.latencies {
            latencies.record(started, Instant::now());
        }
    }
}
