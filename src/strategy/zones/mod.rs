mod load_aware_zones;
mod zonal_shift;
mod zone_aware;
#[allow(clippy::module_inception)]
mod zones;

pub use self::{
    load_aware_zones::LoadAwareZones,
    zonal_shift::{ZonalShift, ZonalShiftHandle},
    zone_aware::{CrossZone, ZoneAware},
    zones::ZonesPicker,
};
