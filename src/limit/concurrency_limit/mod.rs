//! A fixed or adaptive limit on the number of requests in flight, with a bounded queue.
//!
//! `limiter.rs` hands out the permits and keeps the queue; `concurrency.rs` finds the limit.

mod concurrency;
mod future;
mod inspect;
mod limiter;
mod service;

pub use self::{
    concurrency::Concurrency,
    future::ConcurrencyLimitFuture,
    inspect::{Inspect, InspectDeadline, Priority},
    limiter::{Permit, QueueOrder},
    service::{ConcurrencyLimit, ConcurrencyLimitBuilder, ConcurrencyLimitLayer, PermitScope},
};
use super::Rejected;
