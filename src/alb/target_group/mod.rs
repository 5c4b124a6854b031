//! A target group: targets that serve the same requests, with the settings of the ALB.
//!
//! [`TargetGroup`] is a `Service` of HTTP requests. It is a [`Balancer`](crate::Balancer) whose
//! endpoints pass the stages that the settings ask for: health checks, slow start, automatic
//! weights, permits, draining.
//!
//! ```
//! use std::time::Duration;
//! use tower_lb::alb::target_group::{Algorithm, HealthChecks, Target, TargetGroup};
//!
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let group: TargetGroup<Body> = TargetGroup::builder("shop")
//!     .target(Target::new("10.0.0.1:8080".parse()?).in_zone("eu-central-1a"))
//!     .target(Target::new("10.0.1.1:8080".parse()?).in_zone("eu-central-1b"))
//!     .algorithm(Algorithm::WeightedRandomWithAnomalyMitigation)
//!     .health_checks(HealthChecks::new().path("/healthz").matcher("200-299"))
//!     .deregistration_delay(Duration::from_secs(60))
//!     .spawn()?;
//! // Later:
//! group.targets().register(Target::new("10.0.0.2:8080".parse()?).in_zone("eu-central-1a"));
//! group.targets().deregister("10.0.0.1:8080");
//! for target in group.health() {
//!     println!("{target}");
//! }
//! # Ok(()) }
//! ```
//!
//! | question | file |
//! |---|---|
//! | what can be set, and what excludes what? | `builder` |
//! | what do the settings become? | `assembly` |
//! | how does a request pass? | `service`, `tracker`, `body` |
//! | what is a target, and how does it come and go? | `target`, `targets` |
//! | how is a request sent to a target? | `target_service`, `function`, `idle_limit` |
//! | which requests do its protocol versions serve? | `protocol` |
//! | how is a target chosen? | `algorithm`, `stickiness` |
//! | how are targets checked, and what is said of their health? | `health_checks`, `target_health` |
//! | when is the whole group unhealthy? | `group_health` |
//!
//! Source: the settings, defaults and ranges are those of the ELBv2 API. Where this differs is said
//! at each setting.

mod algorithm;
mod assembly;
mod body;
mod builder;
mod function;
mod group_health;
mod health_checks;
mod idle_limit;
mod protocol;
mod service;
mod stickiness;
mod target;
mod target_health;
mod target_service;
mod targets;
mod tracker;

pub use self::{
    algorithm::{Algorithm, CrossZone},
    assembly::TargetGroupDriver,
    body::TargetBody,
    builder::TargetGroupBuilder,
    group_health::{GroupHealth, GroupHealthThresholds, RoutingState},
    health_checks::HealthChecks,
    protocol::{IncompatibleVersion, Protocol, ProtocolVersion},
    service::{TargetGroup, TargetGroupFuture},
    stickiness::Stickiness,
    target::Target,
    target_health::{ReasonCode, TargetHealth, TargetState},
    targets::Targets,
};
