use std::{fmt, sync::Arc};

use super::{Endpoint, EndpointStats};
use crate::escape::Escaped;

/// Identifies one instance of an endpoint: an endpoint that was removed and has come back under the
/// same key is another instance.
///
/// Errors contain the id of the endpoint that failed, and so do the extensions of an HTTP response
/// that counts as a failure. A retry uses it to avoid the endpoint.
#[derive(Clone)]
pub struct EndpointId {
    name: Arc<str>,
    stats: Arc<EndpointStats>,
    is_last_choice: bool,
}

impl EndpointId {
    /// Creates the id of an endpoint; `name` is its key as text.
    pub fn new<T>(name: impl Into<Arc<str>>, endpoint: &Endpoint<T>) -> Self {
        Self { name: name.into(), stats: Arc::clone(endpoint.stats()), is_last_choice: false }
    }

    pub(crate) fn of(name: &Arc<str>, stats: &Arc<EndpointStats>, is_last_choice: bool) -> Self {
        Self { name: Arc::clone(name), stats: Arc::clone(stats), is_last_choice }
    }

    /// Returns the endpoint's key as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the balancer had no other endpoint for the request that was not tried.
    pub(crate) fn is_last_choice(&self) -> bool {
        self.is_last_choice
    }

    /// Returns the endpoint's live figures.
    #[must_use]
    pub fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }
}

impl PartialEq for EndpointId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stats, &other.stats)
    }
}

impl Eq for EndpointId {}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(&self.name))
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointId").field(&self.name).finish()
    }
}
