//! Adapters from stream to stream; [`DiscoverExt`](crate::discover::DiscoverExt) has a method for
//! each.
//!
//! One adapter per file, or per folder. `known` applies updates to a map of endpoints, for the
//! adapters that keep one.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{Discover, Update};

mod broadcast;
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
    broadcast::{Broadcast, BroadcastDriver, BroadcastError, Subscription},
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

/// Polls for updates until `apply` turns one into an update to pass on.
fn poll_updates<D: Discover, U>(
    mut discover: Pin<&mut D>,
    cx: &mut Context<'_>,
    mut apply: impl FnMut(Update<D::Key, D::Target>) -> Option<U>,
) -> Poll<Option<Result<U, D::Error>>> {
    while let Some(update) = ready!(discover.as_mut().poll_discover(cx)?) {
        if let Some(update) = apply(update) {
            return Poll::Ready(Some(Ok(update)));
        }
    }
    Poll::Ready(None)
}
