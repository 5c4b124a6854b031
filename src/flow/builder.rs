use std::{hash::Hash, time::Duration};

use super::{FlowKey, FlowTable};
use crate::ConfigError;

/// Configures a [`FlowTable`].
#[derive(Clone, Debug)]
pub struct FlowTableBuilder {
    pub(super) max_flows: u32,
    pub(super) source_share: f64,
    pub(super) idle_timeouts: Vec<Duration>,
}

/// What a Network Load Balancer uses for UDP.
const DEFAULT_IDLE: Duration = Duration::from_secs(120);
const MAX_CLASSES: usize = 64;

impl Default for FlowTableBuilder {
    fn default() -> Self {
        Self { max_flows: 100_000, source_share: 0.25, idle_timeouts: vec![DEFAULT_IDLE] }
    }
}

impl FlowTableBuilder {
    /// A timeout beyond this is one that never comes.
    pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

    setters! {
        /// Sets how many flows the table has at most. Default 100 000. Memory is taken as flows
        /// come, and given back when they have gone.
        pub fn max_flows(flows: u32) => max_flows = flows;
        /// Sets the share of `max_flows` that one source may have, above 0 and at most 1. It may
        /// always have one flow. Default 0.25. A source is an IPv4 address, or an IPv6 network of
        /// 64 bits.
        pub fn source_share(share: f64) => source_share = share;
        /// Sets how long a flow may be idle, for each class of flows. Default: one class, of 120 s.
        pub fn idle_timeouts(timeouts: impl IntoIterator<Item = Duration>)
            => idle_timeouts = timeouts.into_iter().collect();
    }

    /// Builds an empty table, whose keys are [`FlowKey`]s.
    ///
    /// # Errors
    ///
    /// If `max_flows` is 0 or above 2^31, if `source_share` is not above 0 and at most 1, or if
    /// `idle_timeouts` has no timeout, more than 64, or one that is 0 or above ten years.
    pub fn build<V>(&self) -> Result<FlowTable<V>, ConfigError> {
        self.build_keyed::<FlowKey, V>()
    }

    /// Builds an empty table whose keys contain more than a [`FlowKey`].
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build).
    pub fn build_keyed<K: Eq + Hash, V>(&self) -> Result<FlowTable<V, K>, ConfigError> {
        let max_flows = self.max_flows;
        let is_valid = (1..=1 << 31).contains(&max_flows);
        ConfigError::unless(is_valid, "max_flows", max_flows, "1 to 2147483648")?;
        let share = self.source_share;
        let is_valid = share > 0.0 && share <= 1.0;
        ConfigError::unless(is_valid, "source_share", share, "a share above 0, and at most 1")?;
        let classes = self.idle_timeouts.len();
        let is_valid = (1..=MAX_CLASSES).contains(&classes);
        ConfigError::unless(is_valid, "idle_timeouts", classes, "1 to 64 timeouts")?;
        for &timeout in &self.idle_timeouts {
            Self::check_timeout("idle_timeouts", timeout)?;
        }
        Ok(FlowTable::new(self))
    }

    /// Checks a timeout that is the user's `field`.
    pub(crate) fn check_timeout(field: &'static str, timeout: Duration) -> Result<(), ConfigError> {
        ConfigError::if_zero_time(field, timeout)?;
        let expected = "a time of at most ten years, in seconds";
        ConfigError::unless(timeout <= Self::MAX_TIMEOUT, field, timeout.as_secs(), expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_errors() {
        let builder = FlowTableBuilder::default;
        let table = [
            (builder().max_flows(0), "`max_flows` is 0: expected 1 to 2147483648"),
            (
                builder().source_share(f64::NAN),
                "`source_share` is NaN: expected a share above 0, and at most 1",
            ),
            (builder().idle_timeouts([]), "`idle_timeouts` is 0: expected 1 to 64 timeouts"),
            (
                builder().idle_timeouts([Duration::ZERO]),
                "`idle_timeouts` is 0 s: expected a time above 0",
            ),
            (
                builder().idle_timeouts([Duration::MAX]),
                "`idle_timeouts` is 18446744073709551615: expected a time of at most ten years, \
                 in seconds",
            ),
        ];
        for (builder, text) in table {
            assert_eq!(builder.build::<()>().unwrap_err().to_string(), text);
        }
        assert!(builder().source_share(1e-9).build::<()>().is_ok());
    }
}
