//! Strategies that are made for Lambda functions.
//!
//! `pack` prefers warm environments, which `warmth` estimates. `cost_aware` prefers what is cheap,
//! by `price` and `mean_duration`. `aimd` keeps each endpoint below a limit that `aimd_limit`
//! adapts.
//!
//! `aimd` is not built on the AIMD limit of `crate::limit`. That one guards a service: a request
//! over the limit waits in a queue or is rejected. This one belongs to an endpoint and takes part
//! in the pick: the request goes to another endpoint, or spills to the next tier. It therefore has
//! to be read without a lock for every candidate, and it grows by 1 per success until the first
//! throttle, because the concurrency of a function is in the hundreds.

mod aimd;
mod aimd_limit;
mod cost_aware;
mod mean_duration;
mod pack;
mod price;
mod warmth;

pub use self::{aimd::Aimd, cost_aware::CostAware, pack::Pack, price::Price};
