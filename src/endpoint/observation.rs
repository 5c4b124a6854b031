use std::sync::Arc;

use super::Durations;

/// What a balancer that has a name or measures durations adds to an endpoint.
#[derive(Debug)]
pub(crate) struct Observation {
    /// The name of the balancer, if it has one.
    pub(crate) balancer: Option<Arc<str>>,
    pub(crate) durations: Option<Durations>,
}
