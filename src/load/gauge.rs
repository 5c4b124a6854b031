use crate::{
    endpoint::{EndpointState, EndpointStats},
    outcome::Meter,
};

/// What a [`Load`](super::Load) reads of an endpoint: its vitals, its meters, and the class of the
/// request that is about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'a> {
    stats: &'a EndpointStats,
    endpoint_state: Option<&'a EndpointState>,
    weight: u32,
    class: u32,
}

impl<'a> Gauge<'a> {
    /// For vitals alone: no meter is to be found.
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

    /// The endpoint's weight in the eyes of the strategy.
    #[inline]
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// The same endpoint read by other vitals: those that one class of requests has left.
    #[inline]
    #[must_use]
    pub fn with_stats(self, stats: &'a EndpointStats) -> Self {
        Self { stats, ..self }
    }

    /// The endpoint's live figures.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &'a EndpointStats {
        self.stats
    }

    /// The endpoint's meter that is an `M`, if there is one.
    #[inline]
    #[must_use]
    pub fn meter<M: Meter>(&self) -> Option<&'a M> {
        self.endpoint_state?.meters().find_map(|meter| meter.find())
    }

    /// The class of the request; 0 unless the strategy tells classes apart.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u32 {
        self.class
    }
}
