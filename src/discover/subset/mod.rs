mod aperture;
mod rendezvous_subset;
#[allow(clippy::module_inception)]
mod subset;

pub use self::{
    aperture::{Aperture, Placement},
    rendezvous_subset::RendezvousSubset,
    subset::{FleetMember, InvalidSubset, Subset, Subsetting},
};
