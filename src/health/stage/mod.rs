//! What the adapters share: a stream that follows discovery, keeps a state for each endpoint, and
//! passes changed endpoints on.
//!
//! `stage` has the stream [`Stage`](stage::Stage) and the trait [`Policy`](stage::Policy) that each
//! adapter implements. `members` has the endpoints with their states, `timer` deadlines and
//! intervals, `weight_share` the scaling of weights, `figures` what a stage reports about its
//! endpoints, and `change` the event of a change.

pub(super) mod change;
pub(super) mod figures;
pub(super) mod members;
#[allow(clippy::module_inception)]
pub(super) mod stage;
pub(super) mod timer;
pub(super) mod weight_share;
