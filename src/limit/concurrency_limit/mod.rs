//! A fixed or adaptive limit on the number of requests in flight, with a bounded queue.
//!
//! `limiter.rs` hands out the permits and keeps the queue; `concurrency.rs` finds the limit.

mod concurrency;
mod future;
mod limiter;
mod service;

pub use self::{
    concurrency::Concurrency,
    future::ConcurrencyLimitFuture,
    limiter::{Permit, QueueOrder},
    service::{
        ConcurrencyLimit, ConcurrencyLimitBuilder, ConcurrencyLimitLayer, Inspect, InspectDeadline,
        PermitScope, Priority,
    },
};
use super::{LimitKind, LimitStatus, RejectReason, status::Rejections};
