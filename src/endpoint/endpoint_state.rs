use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{Allowance, Attributes, Durations, EndpointStats, Moment, Observation, Origin, Slots};
use crate::outcome::{LoadReport, Meter, Start};

/// An endpoint in one balancer: its name and attributes, and the balancer's meter and slots for it.
///
/// It is replaced as a whole when attributes change; stats, meter and slots are passed on.
// The fields that each request touches come first, on the cache line of the reference counts.
#[repr(C)]
pub(crate) struct EndpointState {
    pub(crate) stats: Arc<EndpointStats>,
    pub(crate) slots: Option<Arc<Slots>>,
    /// The strategy's meter.
    meter: Option<Arc<dyn Meter>>,
    /// The meters that came with the endpoint.
    meters: Meters,
    pub(crate) interest: Interest,
    /// `None` unless the balancer has a name or measures durations.
    observation: Option<Arc<Observation>>,
    pub(crate) name: Arc<str>,
    /// When the endpoint was added or its state of health last changed.
    since: Moment,
    pub(crate) attributes: Attributes,
    /// Tells whether an endpoint under the same key has the same service.
    pub(crate) origin: Origin,
    /// The last position of its candidate, a hint where to look for it.
    position: AtomicU32,
}

/// The meters that stages of discovery have added to an endpoint; mostly none.
pub(crate) type Meters = Option<Arc<Vec<Arc<dyn Meter>>>>;

/// What the meters of an endpoint need besides outcomes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) latency: bool,
    pub(crate) starts: bool,
    pub(crate) first_bytes: bool,
    pub(crate) reports: bool,
    /// Requests are taken from an allowance.
    pub(crate) rationed: bool,
    /// The balancer measures durations.
    pub(crate) durations: bool,
    /// A request takes nothing when it begins, and no meter needs its start. One test instead of
    /// three.
    pub(crate) plain_start: bool,
    pub(crate) successes: Successes,
}

/// What needs to see a success. One test instead of four.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Successes {
    /// There is no meter.
    #[default]
    None,
    /// The strategy's meter, while there are failures.
    MeterAmongFailures,
    /// The strategy's meter.
    Meter,
    /// Other meters, or there is something to measure or to release.
    Others,
}

impl EndpointState {
    pub(crate) fn new(
        name: Arc<str>,
        attributes: Attributes,
        stats: Arc<EndpointStats>,
        meter: Option<Arc<dyn Meter>>,
        meters: Meters,
        slots: Option<Arc<Slots>>,
    ) -> Self {
        let interest = Interest::default();
        let (origin, position) = (Origin::default(), AtomicU32::new(0));
        let (observation, since) = (None, Instant::now().into());
        let mut endpoint_state = Self {
            stats,
            slots,
            meter,
            meters,
            observation,
            interest,
            name,
            since,
            attributes,
            origin,
            position,
        };
        let any = |wants: fn(&dyn Meter) -> bool| endpoint_state.meters().any(wants);
        endpoint_state.interest = Interest {
            latency: any(|meter| meter.needs_latency() || meter.needs_first_bytes()),
            first_bytes: any(|meter| meter.needs_first_bytes()),
            starts: any(|meter| meter.needs_starts()),
            reports: any(|meter| meter.needs_reports()),
            rationed: endpoint_state.attributes.allowance().is_some(),
            durations: false,
            plain_start: false,
            successes: Successes::Others,
        };
        endpoint_state.summarized()
    }

    /// Sets the interests that follow from the others.
    fn summarized(mut self) -> Self {
        self.interest.plain_start = !self.is_limited() && !self.interest.starts;
        self.interest.successes = match &self.meter {
            _ if self.is_limited() || self.interest.durations => Successes::Others,
            _ if self.meters.is_some() => Successes::Others,
            None => Successes::None,
            Some(meter) if meter.ignores_successes() => Successes::MeterAmongFailures,
            Some(_) => Successes::Meter,
        };
        self
    }

    /// Returns true if the endpoint has slots or an allowance.
    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.slots.is_some() || self.interest.rationed
    }

    /// Returns the same endpoint with other attributes and other meters of its own.
    pub(crate) fn with(&self, attributes: Attributes, meters: Meters) -> Self {
        let (stats, slots) = (Arc::clone(&self.stats), self.slots.clone());
        // Another reason is no other state.
        let is_same_state = attributes.health().state() == self.attributes.health().state();
        let name = Arc::clone(&self.name);
        let next = Self::new(name, attributes, stats, self.meter.clone(), meters, slots)
            .of_origin(self.origin)
            .observed(self.observation.clone());
        Self { since: if is_same_state { self.since } else { next.since }, ..next }
    }

    /// Sets what a balancer that has a name or measures durations adds.
    pub(crate) fn observed(mut self, observation: Option<Arc<Observation>>) -> Self {
        self.interest.durations = observation.as_ref().is_some_and(|one| one.durations.is_some());
        self.interest.latency |= self.interest.durations;
        self.observation = observation;
        self.summarized()
    }

    /// Returns where durations are measured, if they are.
    #[inline]
    pub(crate) fn durations(&self) -> Option<&Durations> {
        // The pointer is followed only if there is something to find.
        let observation = self.interest.durations.then_some(self.observation.as_ref())?;
        observation?.durations.as_ref()
    }

    /// Returns the name of the balancer, if it has one.
    pub(crate) fn balancer(&self) -> Option<&Arc<str>> {
        self.observation.as_ref()?.balancer.as_ref()
    }

    /// Returns how long the health has been what it is.
    pub(crate) fn in_state_for(&self) -> Duration {
        Duration::from_nanos(Moment::from(Instant::now()).since(self.since))
    }

    /// Returns the same endpoint with another origin.
    pub(crate) fn of_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Returns the probable position of the candidate of this endpoint.
    pub(crate) fn position(&self) -> u32 {
        self.position.load(Ordering::Relaxed)
    }

    /// Records the position of the candidate of this endpoint.
    pub(crate) fn set_position(&self, position: u32) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Returns the strategy's meter, unless a success means nothing to it.
    #[inline]
    pub(crate) fn meter_of_successes(&self) -> Option<&dyn Meter> {
        match self.interest.successes {
            Successes::None => None,
            Successes::MeterAmongFailures if !self.stats.has_failures() => None,
            _ => self.meter.as_deref(),
        }
    }

    /// Returns all meters, the strategy's first.
    #[inline]
    pub(crate) fn meters(&self) -> impl Iterator<Item = &dyn Meter> {
        let own = self.meters.iter().flat_map(|meters| meters.iter());
        self.meter.iter().chain(own).map(|meter| &**meter)
    }

    /// Returns true if one more request may be sent to the endpoint at once.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.slots.as_ref().is_none_or(|slots| slots.has_room()) && !self.is_spent()
    }

    /// Returns true if `offers` contains a slot of this endpoint and its allowance is not used up.
    #[cold]
    pub(crate) fn is_offered(&self, offers: &[Arc<Slots>]) -> bool {
        self.slots.as_ref().is_some_and(|slots| offers.iter().any(|one| Arc::ptr_eq(one, slots)))
            && !self.is_spent()
    }

    /// Returns true if its allowance is used up, so that it gets no request even if slots are free.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.interest.rationed && self.has_nothing_left()
    }

    #[cold]
    fn has_nothing_left(&self) -> bool {
        self.attributes.allowance().is_some_and(|allowance| allowance.left() == 0)
    }

    /// Takes room for one request; returns false if there is no room.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        !self.is_limited() || self.enter_limited()
    }

    fn enter_limited(&self) -> bool {
        // Checked first: a slot that is taken and released again would be offered to the same
        // request.
        !self.is_spent()
            && self.slots.as_ref().is_none_or(|slots| slots.try_acquire())
            && self.enter_with_slot()
    }

    /// Takes one request of the allowance for a request that has a slot. Releases the slot if none
    /// is left.
    #[inline]
    pub(crate) fn enter_with_slot(&self) -> bool {
        // The allowance comes last, because giving it back wakes all queued requests.
        let entered =
            !self.interest.rationed || self.attributes.allowance().is_none_or(Allowance::take);
        if !entered {
            self.exit();
        }
        entered
    }

    /// Releases the slot of a request that is over.
    #[inline]
    pub(crate) fn exit(&self) {
        if let Some(slots) = &self.slots {
            slots.release();
        }
    }

    /// Gives the allowance of a request back that was entered but not sent.
    #[cold]
    pub(crate) fn give_back(&self) {
        if let Some(allowance) = self.attributes.allowance() {
            allowance.give_back();
        }
    }

    /// Records that a request that was sent has ended, for an allowance that counts requests in
    /// flight.
    #[cold]
    pub(crate) fn ended(&self) {
        if let Some(allowance) = self.attributes.allowance() {
            allowance.ended();
        }
    }

    /// Passes the beginning of a response on to the meters that need it.
    pub(crate) fn first_byte(&self, start: Start) {
        let meters = self.meters().filter(|meter| meter.needs_first_bytes());
        meters.for_each(|meter| meter.first_byte(&self.stats, start));
    }

    /// Passes the beginning of an attempt on to the meters that need it.
    #[cold]
    pub(crate) fn start(&self, start: Start) {
        let meters = self.meters().filter(|meter| meter.needs_starts());
        meters.for_each(|meter| meter.start(&self.stats, start));
    }

    /// Passes a load report on to the meters that need it.
    pub(crate) fn report(&self, report: &LoadReport, now: Instant) {
        let meters = self.meters().filter(|meter| meter.needs_reports());
        meters.for_each(|meter| meter.report(&self.stats, report, now));
    }

    /// Returns true if these are the meters that came with the endpoint.
    pub(crate) fn has_meters(&self, meters: &Meters) -> bool {
        match (&self.meters, meters) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(&**theirs).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
            }
            _ => false,
        }
    }
}

impl fmt::Debug for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointState")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
