use std::fmt;

use crate::{ConfigError, balance::EndpointStatus, endpoint::Health};

/// When a group counts as unhealthy: `target_group_health.*`.
///
/// Each threshold can be a number of healthy targets, a percentage of all, or both. Either one that
/// is breached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHealthThresholds {
    pub(super) routing: Threshold,
    pub(super) dns: Threshold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Threshold {
    pub(super) count: Option<usize>,
    pub(super) percentage: Option<u32>,
}

impl GroupHealthThresholds {
    /// At least one healthy target, for both.
    #[must_use]
    pub fn new() -> Self {
        let one = Threshold { count: Some(1), percentage: None };
        Self { routing: one, dns: one }
    }

    setters! {
        /// Sets how many targets must be healthy. With fewer, requests go to all targets.
        /// `unhealthy_state_routing.minimum_healthy_targets.count`; default 1, at least 1.
        pub fn routing_count(targets: usize) => routing.count = Some(targets);
        /// Sets which percentage of the targets must be healthy.
        /// `unhealthy_state_routing.minimum_healthy_targets.percentage`; default off, 1 to 100.
        pub fn routing_percentage(percentage: u32) => routing.percentage = Some(percentage);
        /// Sets how many targets must be healthy, so that DNS has the zone; `None` is off.
        /// `dns_failover.minimum_healthy_targets.count`; default 1.
        pub fn dns_count(targets: Option<usize>) => dns.count = targets;
        /// Sets which percentage of the targets must be healthy, so that DNS has the zone.
        /// `dns_failover.minimum_healthy_targets.percentage`; default off, 1 to 100.
        pub fn dns_percentage(percentage: u32) => dns.percentage = Some(percentage);
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (field, Threshold { count, percentage }) in
            [("routing", self.routing), ("dns", self.dns)]
        {
            let field = |part| format!("group_health.{field}_{part}");
            if count == Some(0) {
                return Err(ConfigError::new(field("count"), "at least 1").with_value(0));
            }
            if let Some(percentage) = percentage.filter(|share| !(1..=100).contains(share)) {
                let error = ConfigError::new(field("percentage"), "a percentage from 1 to 100");
                return Err(error.with_value(percentage));
            }
        }
        let below = |dns: Option<usize>, routing: Option<usize>| {
            dns.zip(routing).filter(|(dns, routing)| dns < routing)
        };
        if let Some((dns, routing)) = below(self.dns.count, self.routing.count) {
            let expected = format!("at least `routing_count`, which is {routing}");
            return Err(ConfigError::new("group_health.dns_count", expected).with_value(dns));
        }
        let wide = |percentage: Option<u32>| percentage.map(|share| share as usize);
        if let Some((dns, routing)) =
            below(wide(self.dns.percentage), wide(self.routing.percentage))
        {
            let expected = format!("at least `routing_percentage`, which is {routing}");
            return Err(ConfigError::new("group_health.dns_percentage", expected).with_value(dns));
        }
        Ok(())
    }

    /// Returns the state of targets, by the same count as the rule that opens the routing.
    pub(super) fn state_of<'a>(
        &self,
        targets: impl Iterator<Item = &'a EndpointStatus>,
    ) -> GroupHealth {
        let (mut healthy, mut all) = (0, 0);
        for target in targets {
            let attributes = &target.attributes;
            // A target that is draining, or of weight 0, is not meant to get requests.
            if attributes.weight() == 0 || matches!(attributes.health(), Health::Draining(_)) {
                continue;
            }
            all += 1;
            healthy += usize::from(attributes.health().is_serving());
        }
        let routing = match self.routing.is_breached(healthy, all) {
            true => RoutingState::FailOpen,
            false => RoutingState::Healthy,
        };
        GroupHealth { healthy, all, routing, is_in_dns: !self.dns.is_breached(healthy, all) }
    }
}

impl Default for GroupHealthThresholds {
    fn default() -> Self {
        Self::new()
    }
}

impl Threshold {
    fn is_breached(self, healthy: usize, all: usize) -> bool {
        // A group that has fewer targets than the count is healthy if all of them are.
        let by_count = self.count.is_some_and(|count| healthy < count.min(all.max(1)));
        let by_share = self
            .percentage
            .is_some_and(|percentage| healthy * 100 < percentage as usize * all || all == 0);
        by_count || by_share
    }
}

/// The health of a group, or of its targets in one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct GroupHealth {
    /// The healthy targets.
    pub healthy: usize,
    /// All targets, without those that are draining or have weight 0.
    pub all: usize,
    /// Where requests go.
    pub routing: RoutingState,
    /// Whether enough targets are healthy for DNS. False without a target.
    pub is_in_dns: bool,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoutingState {
    /// To healthy targets.
    Healthy,
    /// To all targets, because too few are healthy. The state of a group without targets too.
    FailOpen,
}

impl fmt::Display for GroupHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { healthy, all, routing, is_in_dns } = self;
        let routing = match routing {
            RoutingState::Healthy => "requests go to healthy targets",
            RoutingState::FailOpen => "requests go to all targets",
        };
        let dns = if *is_in_dns { "in DNS" } else { "not in DNS" };
        write!(f, "{healthy} of {all} healthy, {routing}, {dns}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_threshold_counts() {
        let breached = |count, percentage, healthy, all| {
            Threshold { count, percentage }.is_breached(healthy, all)
        };
        assert!(!breached(Some(1), None, 1, 10) && breached(Some(1), None, 0, 10));
        assert!(breached(Some(3), None, 2, 10) && !breached(Some(3), None, 2, 2));
        assert!(!breached(None, Some(50), 5, 10) && breached(None, Some(50), 4, 10));
        assert!(breached(Some(1), Some(50), 4, 10) && breached(Some(5), Some(1), 4, 10));
        assert!(breached(Some(1), None, 0, 0) && breached(None, Some(1), 0, 0), "no target");
        assert!(!breached(None, None, 0, 10), "off");
    }

    #[test]
    fn nonsense_is_rejected() {
        let thresholds = GroupHealthThresholds::new;
        for (invalid, text) in [
            (
                thresholds().routing_count(0),
                "`group_health.routing_count` is 0: expected at least 1",
            ),
            (thresholds().routing_percentage(101), "`group_health.routing_percentage` is 101"),
            (thresholds().dns_percentage(0), "`group_health.dns_percentage` is 0"),
            (thresholds().routing_count(2), "`group_health.dns_count` is 1: expected at least"),
            (
                thresholds().routing_percentage(50).dns_percentage(49),
                "`group_health.dns_percentage` is 49: expected at least `routing_percentage`",
            ),
        ] {
            let error = invalid.validate().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        assert!(thresholds().routing_count(3).dns_count(None).validate().is_ok());
    }
}
