//! Strategies that are made for Lambda functions.
//!
//! `aimd` is not built on the AIMD limit of `crate::limit`, which guards a service. This one
//! belongs to an endpoint and takes part in the pick: it is read without a lock for every
//! candidate, and grows by 1 per success until the first throttle, as functions have a concurrency
//! of hundreds.

mod aimd;
mod cost_aware;
mod pack;

pub use self::{
    aimd::Aimd,
    cost_aware::{CostAware, Price},
    pack::Pack,
};
