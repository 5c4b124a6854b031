//! The balancer's side: a gateway sends each flow through an appliance.
//!
//! - `gateway`: the future, which moves packets between its end and its socket.
//! - `builder`: the settings.
//! - `flow_keys`: which flow a packet belongs to, also if it is a fragment.
//! - `router`: what happens with each packet. It does no I/O.
//! - `tracked_flow`: the state of one flow.
//! - `tcp_state`: what the gateway knows of a TCP connection, for resets.
//! - `status`: what it has counted.

mod builder;
mod flow_keys;
#[allow(clippy::module_inception)]
mod gateway;
mod router;
mod status;
mod tcp_state;
mod tracked_flow;

pub use self::{
    builder::{ApplianceFailover, GatewayBuilder, Stickiness},
    gateway::Gateway,
    status::{GatewayDrops, GatewayMonitor, GatewayStatus},
};
