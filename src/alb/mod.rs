//! An Application Load Balancer as parts that compose, and as one from its configuration.
//!
//! The modules below put parts of the lower floors together with the names, the defaults and the
//! limits of AWS's Application Load Balancer (ALB). They have no mechanism of their own: whatever
//! they do can be had without them.
//!
//! | module | contents |
//! |---|---|
//! | [`target_group`] | targets with one protocol, one way to check their health, and one algorithm |
//! | [`config`] | the configuration of a load balancer, as `aws elbv2 describe-*` prints it or as a file of your own |
//! | [`load_balancer`] | listeners, rules and target groups that serve a configuration |
//! | `edge` | what happens to each request and response besides the rules |
//! | `elb_error` | which status stands for which failure |

pub mod config;
mod edge;
mod elb_error;
pub mod load_balancer;
pub mod target_group;

#[cfg(tower_lb_fuzz)]
pub use self::edge::mark_for_tracing;
pub use self::{
    elb_error::ElbError,
    load_balancer::{LoadBalancer, LoadBalancerBuilder},
    target_group::{TargetGroup, TargetGroupBuilder},
};
