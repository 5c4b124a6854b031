//! Adapters from stream to stream; [`DiscoverExt`](crate::discover::DiscoverExt) has a method for
//! each.
//!
//! One adapter per file. `known` applies updates to a map of endpoints, for the adapters that keep
//! one.

mod connect;
mod debounce;
mod dedup;
mod erase;
mod filter;
mod into_tower;
mod keep_last_good;
pub(super) mod known;
mod make;
mod map;
mod merge;

pub use self::{
    connect::Connect,
    debounce::Debounce,
    dedup::Dedup,
    erase::Erased,
    filter::FilterEndpoints,
    into_tower::IntoTower,
    keep_last_good::KeepLastGood,
    make::Make,
    map::{MapEndpoints, MapKeys},
    merge::{Merge, merge},
};
