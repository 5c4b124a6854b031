use std::sync::Arc;

use super::EndpointStats;

/// The endpoints that a request has been to already.
///
/// Picks avoid them as long as another will do. Endpoints are told apart by instance: one that was
/// removed and has come back has not been tried. Empty, it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<Arc<EndpointStats>>);

impl Tried {
    /// No endpoint tried yet.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds an endpoint by its vitals. Adding it twice is no harm.
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

    /// True if the endpoint with these vitals has been tried.
    #[must_use]
    pub fn contains(&self, stats: &Arc<EndpointStats>) -> bool {
        self.0.iter().any(|tried| Arc::ptr_eq(tried, stats))
    }

    /// How many endpoints have been tried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none has been tried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
