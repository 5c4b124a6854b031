//! Strategies that ask endpoints for their load between requests.
//!
//! - `probed`: a wrapper that sends the probes, around any strategy that reads load reports.
//! - `prequal`: the strategy of that name, over a pool of answers (`probe_pool`).
//! - `probes`: rounds of probes that a request can wait for, and the future that waits.
//! - `await_probes`: the middleware that lets each request wait for fresh answers.

mod await_probes;
mod prequal;
mod probe_pool;
mod probed;
mod probes;

pub use self::{
    await_probes::{AwaitProbes, AwaitProbesFuture, AwaitProbesLayer},
    prequal::Prequal,
    probed::Probed,
    probes::{Fresh, Probes},
};
