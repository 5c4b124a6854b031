//! The one model that `describe-*` files and hand-written files become.
//!
//! Each file is one concept of the load balancer. All types are plain data: public fields, a
//! default for each field that has one, and no check. [`check`](super::check) holds the checks.

mod action;
mod authenticate;
mod bindings;
mod certificate;
mod condition;
mod config;
mod health_check;
mod leftover;
mod listener;
mod load_balancer;
mod resilience;
mod rule;
mod target;
mod target_group;
mod target_group_attributes;
mod zone;

pub(super) use self::health_check::parse_matcher;

pub use self::{
    action::{Action, FixedResponse, Forward, Redirect, WeightedGroup},
    authenticate::{
        Authenticate, Claim, ClaimFormat, Cognito, Jwt, Oidc, OidcEndpoints, Session,
        Unauthenticated,
    },
    bindings::{
        Bindings, CertificateBinding, FunctionBinding, JwksBinding, Secret, SecretSource,
        TrustStoreBinding,
    },
    certificate::{Certificate, MutualTls},
    condition::{Condition, HeaderCondition, Patterns, QueryPattern},
    config::Config,
    health_check::{EffectiveHealthCheck, HealthCheck},
    leftover::{Leftover, LeftoverKind},
    listener::{Listener, ListenerAttributes, ListenerProtocol},
    load_balancer::{DesyncMode, ForwardedForMode, LoadBalancer, LoadBalancerAttributes, S3Logs},
    resilience::{Backoff, BudgetConfig, OutlierDetectionConfig, Resilience, Retries, Timeouts},
    rule::{Rewrite, Rule, Transforms},
    target::Target,
    target_group::{TargetGroup, TargetKind, TargetProtocol, TargetVersion},
    target_group_attributes::{
        Algorithm, CrossZoneMode, HealthThresholds, Stickiness, TargetGroupAttributes, Threshold,
    },
    zone::Zone,
};
