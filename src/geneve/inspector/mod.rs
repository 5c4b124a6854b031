//! The appliance's side: a service that sees each packet and lets it pass, changes or drops it.
//!
//! - `inspector`: the future between the socket and the service.
//! - `builder`: the settings.
//! - `inspection`: one packet that the service decides about.
//! - `status`: what it has counted.

mod builder;
mod inspection;
#[allow(clippy::module_inception)]
mod inspector;
mod status;

pub use self::{
    builder::InspectorBuilder,
    inspector::Inspector,
    status::{InspectorDrops, InspectorMonitor, InspectorStatus},
};
