//! The shapes of the service model, with its names. A member is absent if AWS does not print it.

mod action;
mod attribute;
mod listener;
mod load_balancer;
mod rule;
mod target_group;

pub(super) use self::{
    action::{
        Action, AuthenticateCognitoConfig, AuthenticateOidcConfig, FixedResponseConfig,
        ForwardConfig, JwtValidationConfig, RedirectConfig,
    },
    attribute::Attribute,
    listener::{Certificate, Listener, MutualAuthentication},
    load_balancer::LoadBalancer,
    rule::{PatternConfig, Rule, RuleCondition, RuleTransform},
    target_group::{TargetGroup, TargetHealthDescription},
};
/// The shapes that only occur in others. A test compares all with the service model.
#[cfg(test)]
pub(super) use self::{
    action::{JwtValidationClaim, TargetGroupStickinessConfig, TargetGroupTuple},
    load_balancer::{AvailabilityZone, IpamPools, LoadBalancerAddress, LoadBalancerState},
    rule::{
        HttpHeaderConfig, QueryStringConfig, QueryStringPair, RewriteConfig, Rewrites,
        SourceIpConfig, ValuesConfig,
    },
    target_group::{
        AdministrativeOverride, AnomalyDetection, Matcher, TargetDescription, TargetHealth,
    },
};
