use std::{ops::Deref, sync::Arc};

use tokio::time::Instant;

use crate::{
    endpoint::{Attributes, EndpointState, EndpointStats},
    load::Gauge,
    outcome::{Attempt, LoadReport, Meter, PickMetadata},
};

/// An endpoint as a strategy sees it: its name, its [attributes](Attributes) (by dereferencing) and
/// its live statistics, but not its service.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) endpoint_state: Arc<EndpointState>,
    // Copied out of `endpoint_state`, to save an indirection for each pick.
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

    /// Returns the endpoint's key as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoint_state.name
    }

    /// Returns the endpoint's live statistics.
    #[inline]
    #[must_use]
    pub fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }

    /// Returns the weight: the share of traffic relative to the other candidates' weights. It is
    /// above 0 if the candidate is eligible.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns true if the endpoint has a free slot for one more request. A picker asks the
    /// [context](super::PickContext::has_room) instead, which knows of slots reserved for the
    /// request.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.endpoint_state.has_room()
    }

    /// Returns what a [`Load`](crate::load::Load) reads for a request of the given class.
    #[inline]
    #[must_use]
    pub fn gauge(&self, class: u32) -> Gauge<'_> {
        Gauge::of(&self.endpoint_state, &self.stats, self.weight, class)
    }

    /// Returns the endpoint's meter of type `M`, if it has one.
    #[must_use]
    pub fn meter<M: Meter>(&self) -> Option<&M> {
        self.gauge(0).meter()
    }

    /// Passes a load report of the endpoint on to its meters.
    pub fn report(&self, report: &LoadReport, now: Instant) {
        self.endpoint_state.report(report, now);
    }

    /// Begins an attempt at the endpoint as a balancer does, for using a strategy without a
    /// balancer. Returns `None` if the endpoint has no free slot.
    #[must_use]
    pub fn begin(&self, started: Option<Instant>) -> Option<Attempt> {
        self.begin_class(started, 0)
    }

    /// Begins an attempt for a request of the given [class](super::PickContext::class).
    #[must_use]
    pub fn begin_class(&self, started: Option<Instant>, class: u32) -> Option<Attempt> {
        let pick_metadata = PickMetadata { class, note: 0 };
        let started = started.map(Into::into);
        Attempt::begin(&self.endpoint_state, started, pick_metadata, false)
    }

    /// Replaces the weight that strategies see. The endpoint's own weight stays.
    pub(crate) fn with_weight(self, weight: u32) -> Self {
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
