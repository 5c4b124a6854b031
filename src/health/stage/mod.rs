//! What the adapters share: a stream that follows discovery, keeps a state for each endpoint, and
//! passes changed endpoints on.
//!
//! `stage` has the stream [`Stage`](stage::Stage) and the trait [`Policy`](stage::Policy) that each
//! adapter implements. `members` has the endpoints with their states, `timer` deadlines and
//! intervals, and `weight_share` the scaling of weights.

pub(super) mod members;
#[allow(clippy::module_inception)]
pub(super) mod stage;
pub(super) mod timer;
pub(super) mod weight_share;
