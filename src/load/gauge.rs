use crate::{
    endpoint::{EndpointState, EndpointStats},
    outcome::Meter,
};

/// What a [`Load`](super::Load) reads of an endpoint: its statistics, its meters, and the class of
/// the request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'a> {
    stats: &'a EndpointStats,
    endpoint_state: Option<&'a EndpointState>,
    weight: u32,
    class: u32,
}

impl<'a> Gauge<'a> {
    /// Creates a gauge of statistics alone, without meters.
    #[must_use]
    pub fn new(stats: &'a EndpointStats) -> Self {
        Self { stats, endpoint_state: None, weight: 1, class: 0 }
    }

    #[inline]
    pub(crate) fn of(
        endpoint_state: &'a EndpointState,
        stats: &'a EndpointStats,
        weight: u32,
        class: u32,
    ) -> Self {
        Self { stats, endpoint_state: Some(endpoint_state), weight, class }
    }

    /// Returns the weight that the strategy gives the endpoint.
    #[inline]
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// Replaces the statistics, for example by those of one class of requests.
    #[inline]
    #[must_use]
    pub fn with_stats(self, stats: &'a EndpointStats) -> Self {
        Self { stats, ..self }
    }

    /// Returns the statistics of the endpoint.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &'a EndpointStats {
        self.stats
    }

    /// Returns the endpoint's meter of type `M`, if it has one.
    #[inline]
    #[must_use]
    pub fn meter<M: Meter>(&self) -> Option<&'a M> {
        self.endpoint_state?.meters().find_map(|meter| meter.find())
    }

    /// Returns the class of the request; 0 if the strategy does not distinguish classes.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }
}
