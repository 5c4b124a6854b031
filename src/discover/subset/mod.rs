mod aperture;
mod rendezvous;
mod stable_hash;
#[allow(clippy::module_inception)]
mod subset;

pub use self::{
    aperture::{Aperture, Placement},
    rendezvous::Rendezvous,
    subset::{FleetMember, InvalidSubset, Subset, Subsetting},
};
