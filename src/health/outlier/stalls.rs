use std::time::Duration;

use crate::health::InvalidSetting;

/// Ejects an endpoint that has gone silent: requests wait there, and for a while none has been
/// answered. So one that hangs is found before any request has timed out.
///
/// A while is `after`, or `factor` times the fleet's usual latency where that is longer; until the
/// latency of any endpoint is known, none is ejected. A response counts from its first byte, where it
/// has one, so a long download is no silence. Time in which this process itself was stopped doesn't
/// count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Least time without an answer. Default 1 s.
    pub after: Duration,
    /// How many times the usual latency, at least. Default 10.
    pub factor: f64,
    /// Least number of requests that wait. Default 3; for an endpoint on trial it is 1.
    pub min_waiting: u32,
}

impl Default for Stalls {
    fn default() -> Self {
        Self { after: Duration::from_secs(1), factor: 10.0, min_waiting: 3 }
    }
}

impl Stalls {
    pub(super) fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("stalls.after", self.after)?;
        InvalidSetting::unless_within("stalls.factor", self.factor, [0.0, f64::INFINITY])?;
        InvalidSetting::if_none("stalls.min_waiting", self.min_waiting.into())
    }

    /// The silence that is too long where requests usually take `usual`.
    pub(super) fn limit(&self, usual: Duration) -> Duration {
        let relative = Duration::try_from_secs_f64(usual.as_secs_f64() * self.factor);
        self.after.max(relative.unwrap_or(Duration::MAX))
    }
}
