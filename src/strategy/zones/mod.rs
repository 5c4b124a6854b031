//! Wrappers that divide the endpoints by availability zone.
//!
//! - `zone_aware`: keeps requests in the client's zone as far as its endpoints suffice.
//! - `load_aware_zones`: the same, by the utilization that endpoints report.
//! - `zonal_shift`: takes zones out by a call, and puts them back.
//! - `zones`: what the first two share, and their picker.

mod load_aware_zones;
mod zonal_shift;
mod zone_aware;
#[allow(clippy::module_inception)]
mod zones;

pub use self::{
    load_aware_zones::LoadAwareZones,
    zonal_shift::{ZonalShift, ZonalShiftHandle},
    zone_aware::{CrossZone, ZoneAware},
};
