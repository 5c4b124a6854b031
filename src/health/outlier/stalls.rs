use std::time::Duration;

use crate::ConfigError;

/// Ejects an endpoint that has stopped responding: requests wait, and for some time no response has
/// begun. Such an endpoint is found before its requests time out.
///
/// The time is `after`, or `factor` times the usual latency of all endpoints if that is longer. No
/// endpoint is ejected before the latency of any endpoint is known. A response counts from its
/// first byte, where it has one, so a long download is not a stall. Time in which this process was
/// stopped does not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// The least time without a response. Default 1 s.
    pub after: Duration,
    /// How many times the usual latency. Default 10; at least 0.
    pub factor: f64,
    /// The least number of waiting requests. Default 3; for an endpoint on trial it is 1.
    pub min_waiting: u32,
}

impl Default for Stalls {
    fn default() -> Self {
        Self { after: Duration::from_secs(1), factor: 10.0, min_waiting: 3 }
    }
}

impl Stalls {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("stalls.after", self.after)?;
        ConfigError::unless_within("stalls.factor", self.factor, [0.0, f64::INFINITY])?;
        ConfigError::if_zero("stalls.min_waiting", self.min_waiting.into())
    }

    /// Returns the time without a response that is too long if requests usually take `usual`.
    pub(super) fn limit(&self, usual: Duration) -> Duration {
        let relative = Duration::try_from_secs_f64(usual.as_secs_f64() * self.factor);
        self.after.max(relative.unwrap_or(Duration::MAX))
    }
}
