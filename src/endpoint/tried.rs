use std::sync::Arc;

use super::EndpointStats;

/// The endpoints that a request has been sent to.
///
/// Picks avoid them while another endpoint is available. Endpoints are compared by instance: one
/// that was removed and has come back has not been tried. An empty set needs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<Arc<EndpointStats>>);

impl Tried {
    /// Returns an empty set.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds an endpoint by its stats, unless it is contained already.
    pub fn add(&mut self, stats: &Arc<EndpointStats>) {
        if !self.contains(stats) {
            self.0.push(Arc::clone(stats));
        }
    }

    pub(crate) fn extend<'a>(&mut self, stats: impl IntoIterator<Item = &'a Arc<EndpointStats>>) {
        stats.into_iter().for_each(|stats| self.add(stats));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<EndpointStats>> {
        self.0.iter()
    }

    /// Returns true if the endpoint with these stats has been tried.
    #[must_use]
    pub fn contains(&self, stats: &Arc<EndpointStats>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, stats))
    }

    /// Returns the number of endpoints tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no endpoint has been tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
