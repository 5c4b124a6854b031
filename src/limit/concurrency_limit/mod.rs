//! A limit on the number of requests in flight, with a bounded queue.

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
    inspect::{Carried, Inspect, Priority},
    layer::{ConcurrencyLimitBuilder, ConcurrencyLimitLayer},
    limiter::{Order, Permit},
    permit_scope::PermitScope,
    service::ConcurrencyLimit,
};
use super::Rejected;
