use std::{ops::Deref, sync::Arc};

use tokio::time::Instant;

use crate::{
    endpoint::{Attributes, EndpointState, EndpointStats},
    load::Gauge,
    outcome::{Attempt, LoadReport, Meter, PickMetadata},
};

/// An endpoint as a strategy sees it: its name, [attributes](Attributes) (by dereferencing) and
/// vitals, but not the service behind it.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) endpoint_state: Arc<EndpointState>,
    stats: Arc<EndpointStats>,
    weight: u32,
    position: u32,
}

impl Candidate {
    pub(crate) fn new(endpoint_state: Arc<EndpointState>, position: u32) -> Self {
        let (stats, weight) =
            (Arc::clone(&endpoint_state.stats), endpoint_state.attributes.weight());
        endpoint_state.set_position(position);
        Self { endpoint_state, stats, weight, position }
    }

    /// The endpoint's key, as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoint_state.name
    }

    /// The endpoint's live figures.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }

    /// The share of traffic relative to other candidates' weights; not 0 if the candidate is
    /// eligible.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// True if the balancer may send it one more request at once. For a pick it is the
    /// [context](super::PickContext::has_room) that is asked: it knows who asks.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.endpoint_state.has_room()
    }

    /// What a load reads of it, for a request of this class.
    #[inline]
    #[must_use]
    pub fn gauge(&self, class: u32) -> Gauge<'_> {
        Gauge::of(&self.endpoint_state, &self.stats, self.weight, class)
    }

    /// The endpoint's meter that is an `M`, if there is one.
    #[must_use]
    pub fn meter<M: Meter>(&self) -> Option<&M> {
        self.gauge(0).meter()
    }

    /// Passes on to the endpoint's meters what it says of its load.
    pub fn report(&self, report: &LoadReport, now: Instant) {
        self.endpoint_state.report(report, now);
    }

    /// Begins an attempt at the endpoint, as the balancer does, for trying out a strategy without
    /// one. `None` if it has no room.
    #[must_use]
    pub fn begin(&self, started: Option<Instant>) -> Option<Attempt> {
        self.begin_class(started, 0)
    }

    /// The same for a request of a class, as [`PickContext::class`](super::PickContext::class) has it
    /// after the pick.
    #[must_use]
    pub fn begin_class(&self, started: Option<Instant>, class: u32) -> Option<Attempt> {
        Attempt::begin(&self.endpoint_state, started, PickMetadata { class, note: 0 })
    }

    /// The same candidate with another weight in the eyes of a strategy.
    pub(crate) fn weighing(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    pub(crate) fn position(&self) -> usize {
        self.position as usize
    }

    pub(crate) fn set_position(&mut self, position: u32) {
        self.position = position;
        self.endpoint_state.set_position(position);
    }
}

impl Deref for Candidate {
    type Target = Attributes;

    fn deref(&self) -> &Attributes {
        &self.endpoint_state.attributes
    }
}
