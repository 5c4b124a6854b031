//! Strategies that are made for Lambda functions.
//!
//! `aimd` is not built on the AIMD limit of `crate::limit`. That one guards a service: a request
//! over the limit waits in a queue or is rejected. This one belongs to an endpoint and takes part
//! in the pick: the request goes to another endpoint, or spills to the next tier. It therefore has
//! to be read without a lock for every candidate, and it grows by 1 per success until the first
//! throttle, because the concurrency of a function is in the hundreds.

mod aimd;
mod cost_aware;
mod pack;

pub use self::{
    aimd::Aimd,
    cost_aware::{CostAware, Price},
    pack::Pack,
};
