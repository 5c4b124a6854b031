//! The relay of flows.
//!
//! - `relay`: the future. One task receives from clients, and polls the flows that were woken.
//! - `flows`: what happens to one flow.
//! - `session`: the state of one flow.
//! - `builder`: the settings.

mod builder;
mod flows;
#[allow(clippy::module_inception)]
mod relay;
mod session;

pub use self::{
    builder::{TargetLoss, UdpRelayBuilder},
    relay::{UdpRelay, UdpRelayHandle},
};
