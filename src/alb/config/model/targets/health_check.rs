use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TargetGroup, TargetKind, TargetProtocol, TargetVersion};
use crate::alb::config::form::Time;

/// The health check of a target group. What is absent has the ALB's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthCheck {
    /// Whether targets are checked. Default true; false for Lambda functions. Other targets than
    /// functions are always checked in the ALB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How the check speaks. Default: the group's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TargetProtocol>,
    /// The port. Default: that of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The path, up to 1024 characters. Default `/`; for gRPC `/AWS.ALB/healthcheck`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The time from check to check, from 5 s to 300 s. Default 30 s; 35 s for Lambda functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Time>,
    /// How long a check may take, from 2 s to 120 s. Default 5 s; 30 s for Lambda functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Time>,
    /// How many consecutive checks an unhealthy target must pass, from 2 to 10. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_threshold: Option<u32>,
    /// How many consecutive checks a healthy target must fail, from 2 to 10. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_threshold: Option<u32>,
    /// The statuses of a passed check, such as `200-299,301`: from 200 to 499, default 200. For
    /// gRPC the codes from 0 to 99, default 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matcher: Option<String>,
}

/// A health check in which each setting has its value; see
/// [`TargetGroup::effective_health_check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::alb) struct EffectiveHealthCheck {
    /// Whether targets are checked.
    pub(in crate::alb) enabled: bool,
    /// How the check speaks.
    pub(in crate::alb) protocol: TargetProtocol,
    /// The port. `None`: that of the target.
    pub(in crate::alb) port: Option<u16>,
    /// The path.
    pub(in crate::alb) path: String,
    /// The time from check to check.
    pub(in crate::alb) interval: Time,
    /// How long a check may take.
    pub(in crate::alb) timeout: Time,
    /// How many consecutive checks an unhealthy target must pass.
    pub(in crate::alb) healthy_threshold: u32,
    /// How many consecutive checks a healthy target must fail.
    pub(in crate::alb) unhealthy_threshold: u32,
    /// The statuses, or the codes of gRPC, of a passed check.
    pub(in crate::alb) matcher: Vec<RangeInclusive<u16>>,
}

impl TargetGroup {
    /// Returns the health check with the ALB's defaults for a group of this kind.
    ///
    /// A matcher that is invalid has the default; a check reports it.
    pub(in crate::alb) fn effective_health_check(&self) -> EffectiveHealthCheck {
        let (check, is_lambda) = (&self.health_check, self.kind == TargetKind::Lambda);
        let is_grpc = self.version == TargetVersion::Grpc;
        let path = if is_grpc { "/AWS.ALB/healthcheck" } else { "/" };
        let matcher = check.matcher.as_deref().and_then(parse_matcher);
        let seconds = |other, lambda| Time::from_secs(if is_lambda { lambda } else { other });
        EffectiveHealthCheck {
            enabled: check.enabled.unwrap_or(!is_lambda),
            protocol: check.protocol.unwrap_or(self.protocol),
            port: check.port,
            path: check.path.clone().unwrap_or_else(|| path.to_owned()),
            interval: check.interval.unwrap_or_else(|| seconds(30, 35)),
            timeout: check.timeout.unwrap_or_else(|| seconds(5, 30)),
            healthy_threshold: check.healthy_threshold.unwrap_or(5),
            unhealthy_threshold: check.unhealthy_threshold.unwrap_or(2),
            matcher: matcher.unwrap_or_else(|| vec![if is_grpc { 12..=12 } else { 200..=200 }]),
        }
    }
}

/// Parses `200`, `200,202` and `200-299`.
pub(in crate::alb::config) fn parse_matcher(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = number(first)?..=number(last)?;
        (!range.is_empty()).then_some(range)
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_of_each_kind() {
        let seconds = Time::from_secs;
        let mut group = TargetGroup::new("g");
        let check = group.effective_health_check();
        assert!(check.enabled && check.path == "/" && check.matcher == [200..=200]);
        assert_eq!((check.interval, check.timeout), (seconds(30), seconds(5)));
        assert_eq!((check.healthy_threshold, check.unhealthy_threshold), (5, 2));
        group.version = TargetVersion::Grpc;
        let check = group.effective_health_check();
        assert_eq!((&*check.path, &*check.matcher), ("/AWS.ALB/healthcheck", &[12..=12][..]));
        group.protocol = TargetProtocol::Https;
        assert_eq!(group.effective_health_check().protocol, TargetProtocol::Https);
        group.health_check.protocol = Some(TargetProtocol::Http);
        assert_eq!(group.effective_health_check().protocol, TargetProtocol::Http);
        (group.kind, group.version) = (TargetKind::Lambda, TargetVersion::Http1);
        let check = group.effective_health_check();
        assert!(!check.enabled);
        assert_eq!((check.interval, check.timeout), (seconds(35), seconds(30)));
    }

    #[test]
    fn matchers() {
        assert_eq!(parse_matcher("200"), Some(vec![200..=200]));
        assert_eq!(parse_matcher("200,301-302"), Some(vec![200..=200, 301..=302]));
        for invalid in ["", "200,", "a", "300-200", "2-3-4", "70000"] {
            assert_eq!(parse_matcher(invalid), None, "{invalid}");
        }
    }
}
