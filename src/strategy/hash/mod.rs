mod bounded_load;
mod hash_key;
pub(super) mod hash_order;
mod log2;
mod maglev;
mod rank;
mod rendezvous;
mod ring;
pub(super) mod top_k;

pub use self::{
    bounded_load::{BoundedLoad, BoundedLoadPicker, InvalidFactor},
    hash_key::HashKey,
    maglev::{InvalidTableSize, Maglev, MaglevPicker},
    rank::Rank,
    rendezvous::{Rendezvous, RendezvousPicker},
    ring::{Ring, RingPicker},
    top_k::{TopK, TopKPicker},
};
