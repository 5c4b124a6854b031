//! An Application Load Balancer as parts that compose.
//!
//! The modules below put parts of the lower floors together with the names, the defaults and the
//! limits of AWS's Application Load Balancer (ALB). They have no mechanism of their own: whatever
//! they do can be had without them.
//!
//! - [`target_group`]: a set of targets with one protocol, one way to check their health, and one
//!   algorithm; a balancer with the settings of the ALB.
//! - `elb_error`: which status stands for which failure.

mod edge;
mod elb_error;
pub mod target_group;

pub use self::{
    elb_error::ElbError,
    target_group::{TargetGroup, TargetGroupBuilder},
};
//! An Application Load Balancer, in code or from the configuration of an existing one.

pub mod config;
