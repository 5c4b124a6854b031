//! Consistent hashing: requests of the same key go to the same endpoint, as long as it can take
//! them.
//!
//! - `rendezvous`, `maglev`, `ring`: the three hashes. All build the picker in `hash_picker`.
//! - `hash_order`: the endpoints in an order that does not depend on discovery, and the draw among
//!   them.
//! - `rank`: the trait of a picker that ranks all endpoints for a key.
//! - `bounded_load`, `top_k`: wrappers over any strategy whose picker is a `Rank`.
//! - `hash_key`: the function from a request to the hash of its key.
//! - `log2`: a logarithm that is the same on every platform.

mod bounded_load;
mod hash_key;
pub(super) mod hash_order;
mod hash_picker;
mod log2;
mod maglev;
mod rank;
mod rendezvous;
mod ring;
pub(super) mod top_k;

pub use self::{
    bounded_load::BoundedLoad, hash_key::HashKey, maglev::Maglev, rank::Rank,
    rendezvous::Rendezvous, ring::Ring, top_k::TopK,
};
