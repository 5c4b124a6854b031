//! The one model that `describe-*` files and hand-written files become.
//!
//! Each file is one concept of the load balancer. The types are plain data: public fields, a
//! default for each field that has one, and no check; [`Config::check`] has the checks.

mod bindings;
mod bound;
mod certificate;
mod config;
mod leftover;
mod listener;
mod load_balancer;
mod resilience;
mod routing;
mod secret;
mod targets;
mod zone;

pub(in crate::alb) use self::{bound::BoundTarget, secret::Secret};
pub(super) use self::{bound::function_name, targets::parse_matcher};

pub use self::{
    bindings::{Bindings, CertificateBinding, FunctionBinding, JwksBinding, TrustStoreBinding},
    certificate::{Certificate, MutualTls},
    config::Config,
    leftover::{Leftover, LeftoverKind},
    listener::{Listener, ListenerAttributes, ListenerLimits, ListenerProtocol},
    load_balancer::{DesyncMode, ForwardedForMode, LoadBalancer, LoadBalancerAttributes, S3Logs},
    resilience::{Backoff, BudgetConfig, OutlierDetectionConfig, Resilience, Retries, Timeouts},
    routing::{
        Action, Authenticate, Claim, ClaimFormat, Cognito, Condition, FixedResponse, Forward,
        HeaderCondition, Jwt, Oidc, OidcEndpoints, Patterns, QueryPattern, Redirect, Rewrite, Rule,
        Session, Transforms, Unauthenticated, WeightedGroup,
    },
    secret::SecretSource,
    targets::{
        Algorithm, CrossZoneMode, HealthCheck, HealthThresholds, Stickiness, Target, TargetGroup,
        TargetGroupAttributes, TargetKind, TargetProtocol, TargetVersion, Threshold,
    },
    zone::Zone,
};
