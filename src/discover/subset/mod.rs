//! Subsets of many endpoints: each client connects to some of them.
//!
//! `subset` has the adapter and the trait [`Subsetting`], which selects the endpoints.
//! [`ApertureSubset`] distributes load evenly among clients with an index, [`RendezvousSubset`]
//! needs no coordination.

mod aperture_subset;
mod placement;
mod rendezvous_subset;
#[allow(clippy::module_inception)]
mod subset;

pub use self::{
    aperture_subset::ApertureSubset,
    placement::Placement,
    rendezvous_subset::RendezvousSubset,
    subset::{FleetMember, SubsetEndpoints, Subsetting},
};
