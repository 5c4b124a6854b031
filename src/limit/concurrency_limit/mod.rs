//! A fixed or adaptive limit on the number of requests in flight, with a bounded queue.
//!
//! `limiter.rs` hands out the permits and keeps the queue; `adaptive_limit.rs` finds the limit.

mod adaptive_limit;
mod concurrency;
mod future;
mod inspect;
mod layer;
mod limiter;
mod permit_scope;
mod service;

pub use self::{
    concurrency::Concurrency,
    future::ConcurrencyLimitFuture,
    inspect::{Inspect, InspectDeadline, Priority},
    layer::{ConcurrencyLimitBuilder, ConcurrencyLimitLayer},
    limiter::{Permit, QueueOrder},
    permit_scope::PermitScope,
    service::ConcurrencyLimit,
};
use super::Rejected;
