//! One stream of endpoints for many balancers: [`Broadcast`].
//!
//! | module | has |
//! |---|---|
//! | `change_log` | the set of endpoints, its latest changes, and what a subscriber lacks |
//! | `hub` | the change log behind a lock, and the wakers of subscribers |
//! | `broadcast_driver` | the future that polls the source |
//! | `subscription` | the stream of one subscriber |
//!
//! The lock is not on the path of requests: the driver takes it for each update of the source, and
//! a subscription for each batch of updates. User code runs under it where keys are hashed and
//! endpoints cloned, but no endpoint is dropped and no task is woken under it.

#[allow(clippy::module_inception)]
mod broadcast;
mod broadcast_driver;
mod broadcast_error;
mod change_log;
mod hub;
mod subscription;

pub use self::{
    broadcast::Broadcast, broadcast_driver::BroadcastDriver, broadcast_error::BroadcastError,
    subscription::Subscription,
};
