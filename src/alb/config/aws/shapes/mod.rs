//! The shapes of the service model, with its names. A member is absent if AWS does not print it.

mod action;
mod listener;
mod load_balancer;
mod output;
mod rule;
mod target_group;

pub use self::{
    action::{
        Action, AuthenticateCognitoConfig, AuthenticateOidcConfig, FixedResponseConfig,
        ForwardConfig, JwtValidationClaim, JwtValidationConfig, RedirectConfig,
        TargetGroupStickinessConfig, TargetGroupTuple,
    },
    listener::{Certificate, Listener, MutualAuthentication},
    load_balancer::{
        AvailabilityZone, IpamPools, LoadBalancer, LoadBalancerAddress, LoadBalancerState,
    },
    output::{Attribute, DescribeOutput, TagDescription},
    rule::{
        HttpHeaderConfig, PatternConfig, QueryStringConfig, QueryStringPair, RewriteConfig,
        Rewrites, Rule, RuleCondition, RuleTransform, SourceIpConfig, ValuesConfig,
    },
    target_group::{
        AdministrativeOverride, AnomalyDetection, Matcher, TargetDescription, TargetGroup,
        TargetHealth, TargetHealthDescription,
    },
};
