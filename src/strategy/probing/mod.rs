mod await_probes;
mod prequal;
mod probe_pool;
mod probed;
mod probes;

pub use self::{
    await_probes::{AwaitProbes, AwaitProbesFuture, AwaitProbesLayer},
    prequal::{Prequal, PrequalPicker},
    probed::{Probed, ProbedPicker},
    probes::{Fresh, Probes},
};
