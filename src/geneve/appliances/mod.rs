//! The balancer's side of appliances: endpoints of a balancer whose requests are flows.
//!
//! - `new_flow`: a flow that asks for an appliance, the request.
//! - `appliance`: the service of an endpoint, which answers with itself.
//! - `appliances`: the stream that makes services of addresses, and tells them their health.
//! - `assigned`: the response, and the tracker for which an attempt lasts as long as its flow.

mod appliance;
#[allow(clippy::module_inception)]
mod appliances;
mod assigned;
mod new_flow;

pub(super) use self::appliance::Standing;
pub use self::{
    appliance::Appliance,
    appliances::{Appliances, appliances},
    assigned::{ApplianceTracker, Assigned},
    new_flow::NewFlow,
};
