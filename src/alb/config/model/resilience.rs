use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alb::config::form::{Time, is_default};

/// What the load balancer does beyond the ALB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resilience {
    /// Retries of failed requests. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// The delay after which a second attempt starts beside the first. Default: none starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Time>,
    /// How many retries and hedges are allowed.
    #[serde(skip_serializing_if = "is_default")]
    pub budget: BudgetConfig,
    /// Ejection of targets whose requests fail. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetectionConfig>,
    /// Time limits.
    #[serde(skip_serializing_if = "is_default")]
    pub timeouts: Timeouts,
}

/// Retries of failed requests that may be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// The maximum number of attempts, with the first one. At least 1; default 3.
    pub attempts: u32,
    /// The time limit of all attempts together, up to the response head. Default 30 s.
    pub overall: Time,
    /// The delay between attempts. Default: the library's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How much of a request's body is kept to be repeated, in bytes. Default 64 KiB.
    pub max_body_bytes: u64,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 3, overall: Time::from_secs(30), backoff: None, max_body_bytes: 64 << 10 }
    }
}

/// A delay that grows from attempt to attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The delay before the first retry.
    pub base: Time,
    /// The longest delay.
    pub max: Time,
}

/// How many retries and hedges are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// How much of a retry each request allows, from 0 to 10. Default 0.1.
    pub share: f64,
    /// How many retries per second are allowed in addition. Default 3.
    pub floor: f64,
    /// How long an allowance is kept, from 100 ms to 1 h. Default 10 s.
    pub window: Time,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { share: 0.1, floor: 3.0, window: Time::from_secs(10) }
    }
}

/// Ejection of targets whose requests fail. The rules that are not named here have the library's
/// defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetectionConfig {
    /// The time from comparison to comparison. Default 10 s.
    pub interval: Time,
    /// How many consecutive failed responses eject a target; 0 is off. Default 5.
    pub failed_responses: u32,
    /// How many consecutive requests without a response eject a target; 0 is off. Default 5.
    pub unanswered_requests: u32,
    /// Whether a success rate far below that of the others ejects a target. Default true.
    pub success_rate: bool,
    /// Whether a large share of failures ejects a target. Default true.
    pub failure_share: bool,
    /// Whether a latency far above that of the others ejects a target. Default true.
    pub latency: bool,
    /// Whether requests that wait unanswered eject a target. Default true.
    pub stalls: bool,
    /// How long the first ejection takes. Default 30 s.
    pub ejection_time: Time,
    /// How long an ejection takes at most. Default 300 s.
    pub max_ejection_time: Time,
    /// How many targets are ejected at a time, in percent. Default 50; one target may always be.
    pub max_ejected_percent: f64,
}

impl Default for OutlierDetectionConfig {
    fn default() -> Self {
        Self {
            interval: Time::from_secs(10),
            failed_responses: 5,
            unanswered_requests: 5,
            success_rate: true,
            failure_share: true,
            latency: true,
            stalls: true,
            ejection_time: Time::from_secs(30),
            max_ejection_time: Time::from_secs(300),
            max_ejected_percent: 50.0,
        }
    }
}

/// Time limits of the way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// How long a connection to a target may take. Default 10 s, as in the ALB.
    pub connect: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Time::from_secs(10) }
    }
}
