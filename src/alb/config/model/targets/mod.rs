//! Target groups, their targets, and how they are checked.

mod attributes;
mod group;
mod health_check;
mod target;

pub(in crate::alb::config) use self::health_check::parse_matcher;

pub use self::{
    attributes::{
        Algorithm, CrossZoneMode, HealthThresholds, Stickiness, TargetGroupAttributes, Threshold,
    },
    group::{TargetGroup, TargetKind, TargetProtocol, TargetVersion},
    health_check::HealthCheck,
    target::Target,
};
