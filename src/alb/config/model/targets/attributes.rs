use std::{borrow::Cow, fmt, num::NonZeroU32};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::alb::config::form::{Time, is_default};

/// The attributes of a target group, with the ALB's defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetGroupAttributes {
    /// The algorithm. Default `round_robin`. A group's `strategy` replaces it.
    pub algorithm: Algorithm,
    /// Whether targets with more errors than their peers get less traffic. Only with
    /// `weighted_random`. Default false.
    pub anomaly_mitigation: bool,
    /// How long requests of a removed target may take, up to 3600 s. Default 300 s.
    pub deregistration_delay: Time,
    /// How long a new target gets a growing share: 0 (off) or from 30 s to 900 s. Only with
    /// `round_robin`. Default 0.
    pub slow_start: Time,
    /// Whether a client's requests go to the same target. Default: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
    /// Whether targets of all zones are used by each zone. Default `inherit`.
    pub cross_zone: CrossZoneMode,
    /// Below which number of healthy targets a zone leaves the answers of DNS. Default: 1 target.
    pub dns_failover: HealthThresholds,
    /// Below which number of healthy targets all targets get requests, healthy or not. Default: 1
    /// target.
    pub fail_open: HealthThresholds,
    /// Whether the events of a Lambda function have lists of values for fields and parameters.
    /// Default false.
    #[serde(skip_serializing_if = "is_default")]
    pub multi_value_headers: bool,
}

impl Default for TargetGroupAttributes {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            anomaly_mitigation: false,
            deregistration_delay: Time::from_secs(300),
            slow_start: Time::from_secs(0),
            stickiness: None,
            cross_zone: CrossZoneMode::default(),
            dns_failover: HealthThresholds::default(),
            fail_open: HealthThresholds::default(),
            multi_value_headers: false,
        }
    }
}

/// How a target is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Algorithm {
    /// In turn. The default.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastOutstandingRequests,
    /// At random, by weights that `anomaly_mitigation` changes.
    WeightedRandom,
}

/// Whether targets of all zones are used by each zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CrossZoneMode {
    /// They are.
    On,
    /// Each zone uses its own targets.
    Off,
    /// As the load balancer has it. The default.
    #[default]
    Inherit,
}

/// How a client's requests are recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Stickiness {
    /// By a cookie of the load balancer.
    LbCookie {
        /// How long, from 1 s to 7 days. Default 1 day.
        #[serde(default = "one_day")]
        duration: Time,
    },
    /// By a cookie of the application.
    AppCookie {
        /// The name of the application's cookie; it must not begin with `AWSALB`.
        cookie: String,
        /// How long, from 1 s to 7 days. Default 1 day.
        #[serde(default = "one_day")]
        duration: Time,
    },
}

impl Stickiness {
    /// Returns how long requests go to the same target.
    #[must_use]
    pub fn duration(&self) -> Time {
        match self {
            Self::LbCookie { duration } | Self::AppCookie { duration, .. } => *duration,
        }
    }
}

fn one_day() -> Time {
    Time::from_secs(86_400)
}

/// The least number of healthy targets. If either is not reached, the group is unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthThresholds {
    /// The number of targets: `off`, or at least 1. Default 1.
    pub count: Threshold,
    /// The share of targets in percent: `off`, or from 1 to 100. Default `off`.
    pub percentage: Threshold,
}

impl Default for HealthThresholds {
    fn default() -> Self {
        Self { count: Threshold::AtLeast(NonZeroU32::MIN), percentage: Threshold::Off }
    }
}

/// A threshold: `off`, or a number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Threshold {
    /// The threshold is always reached.
    Off,
    /// It is reached from this number on.
    AtLeast(NonZeroU32),
}

impl Threshold {
    /// Parses `off` or a number of at least 1.
    pub(in crate::alb::config) fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        text.parse().ok().map(Self::AtLeast)
    }

    /// Returns the number, or 0 if the threshold is off.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::AtLeast(number) => number.get(),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::AtLeast(number) => number.fmt(f),
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => "off".serialize(serializer),
            Self::AtLeast(number) => number.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Threshold;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\", or a number of at least 1")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Threshold, E> {
                let invalid = || E::invalid_value(de::Unexpected::Str(text), &self);
                Threshold::parse(text).ok_or_else(invalid)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Threshold, E> {
                let valid = u32::try_from(number).ok().and_then(NonZeroU32::new);
                let invalid = || E::invalid_value(de::Unexpected::Unsigned(number), &self);
                valid.map(Threshold::AtLeast).ok_or_else(invalid)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Threshold, E> {
                let valid = u32::try_from(number).ok().and_then(NonZeroU32::new);
                let invalid = || E::invalid_value(de::Unexpected::Signed(number), &self);
                valid.map(Threshold::AtLeast).ok_or_else(invalid)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Threshold {
    fn schema_name() -> Cow<'static, str> {
        "Threshold".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A threshold: `off`, or a number of at least 1.",
            "anyOf": [{ "const": "off" }, { "type": "integer", "minimum": 1 }],
        })
    }
}
