use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::time::Instant;

use super::{Allowance, Attributes, EndpointStats, Slots};
use crate::outcome::{LoadReport, Meter, Start};

/// An endpoint as one balancer has it: its name and attributes, and what the balancer hangs on it.
///
/// Replaced as a whole when attributes change; vitals, meter and slots are handed on.
///
/// What each request touches comes first, on the cache line of the reference counts.
#[repr(C)]
pub(crate) struct EndpointState {
    pub(crate) stats: Arc<EndpointStats>,
    pub(crate) slots: Option<Arc<Slots>>,
    /// The strategy's.
    meter: Option<Arc<dyn Meter>>,
    /// Those that came with the endpoint.
    meters: Meters,
    pub(crate) interest: Interest,
    pub(crate) name: Arc<str>,
    pub(crate) attributes: Attributes,
    /// The [origin](super::Endpoint::origin) of the endpoint: another one has another service.
    pub(crate) origin: u32,
    /// Where its candidate was last, as a hint where to look for it.
    position: AtomicU32,
}

/// The meters that stages of discovery have hung on an endpoint; mostly none.
pub(crate) type Meters = Option<Arc<Vec<Arc<dyn Meter>>>>;

/// What the meters of an endpoint want to be told beside outcomes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interest {
    pub(crate) latency: bool,
    pub(crate) starts: bool,
    pub(crate) first_bytes: bool,
    pub(crate) reports: bool,
    /// Requests are taken from an allowance.
    pub(crate) rationed: bool,
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
        let (origin, position) = (0, AtomicU32::new(0));
        let mut endpoint_state =
            Self { stats, slots, meter, meters, interest, name, attributes, origin, position };
        let any = |wants: fn(&dyn Meter) -> bool| endpoint_state.meters().any(wants);
        endpoint_state.interest = Interest {
            latency: any(|meter| meter.needs_latency() || meter.needs_first_bytes()),
            first_bytes: any(|meter| meter.needs_first_bytes()),
            starts: any(|meter| meter.needs_starts()),
            reports: any(|meter| meter.needs_reports()),
            rationed: endpoint_state.attributes.allowance().is_some(),
        };
        endpoint_state
    }

    /// The same endpoint with other attributes, and other meters of its own.
    pub(crate) fn with(&self, attributes: Attributes, meters: Meters) -> Self {
        let (stats, slots) = (Arc::clone(&self.stats), self.slots.clone());
        Self::new(Arc::clone(&self.name), attributes, stats, self.meter.clone(), meters, slots)
            .of_origin(self.origin)
    }

    /// The same of another origin.
    pub(crate) fn of_origin(self, origin: u32) -> Self {
        Self { origin, ..self }
    }

    /// Where the candidate of this endpoint probably is.
    pub(crate) fn position(&self) -> u32 {
        self.position.load(Ordering::Relaxed)
    }

    /// Says where the candidate of this endpoint is now.
    pub(crate) fn set_position(&self, position: u32) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// All meters, the strategy's first.
    #[inline]
    pub(crate) fn meters(&self) -> impl Iterator<Item = &dyn Meter> {
        let own = self.meters.iter().flat_map(|meters| meters.iter());
        self.meter.iter().chain(own).map(|meter| &**meter)
    }

    /// True if one more request may be sent there at once.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.slots.as_ref().is_none_or(|slots| slots.has_room()) && !self.is_spent()
    }

    /// True if one of these slots is kept for the request that asks, and nothing else is in the way.
    #[cold]
    pub(crate) fn is_offered(&self, offers: &[Arc<Slots>]) -> bool {
        self.slots.as_ref().is_some_and(|slots| offers.iter().any(|one| Arc::ptr_eq(one, slots)))
            && !self.is_spent()
    }

    /// True if it may get no more requests, whatever slots are free.
    #[inline]
    pub(crate) fn is_spent(&self) -> bool {
        self.interest.rationed && self.has_nothing_left()
    }

    #[cold]
    fn has_nothing_left(&self) -> bool {
        self.attributes.allowance().is_some_and(|allowance| allowance.left() == 0)
    }

    /// Takes room for one request, if there is any.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        // A slot that is taken in vain would be handed over to the same request again.
        !self.is_spent()
            && self.slots.as_ref().is_none_or(|slots| slots.try_acquire())
            && self.enter_with_slot()
    }

    /// Takes the rest of what one request needs that has a slot. Releases the slot if there is not
    /// enough.
    #[inline]
    pub(crate) fn enter_with_slot(&self) -> bool {
        // The allowance comes last: giving it back has all requests in line look again.
        let entered =
            !self.interest.rationed || self.attributes.allowance().is_none_or(Allowance::take);
        if !entered {
            self.exit();
        }
        entered
    }

    /// The request is over.
    #[inline]
    pub(crate) fn exit(&self) {
        if let Some(slots) = &self.slots {
            slots.release();
        }
    }

    /// The request that was entered is not sent.
    #[cold]
    pub(crate) fn give_back(&self) {
        if let Some(allowance) = self.attributes.allowance() {
            allowance.give_back();
        }
    }

    /// Tells the meters that want it that a response has begun.
    pub(crate) fn first_byte(&self, start: Start) {
        let told = self.meters().filter(|meter| meter.needs_first_bytes());
        told.for_each(|meter| meter.first_byte(&self.stats, start));
    }

    /// Tells the meters that want it that an attempt has begun.
    #[cold]
    pub(crate) fn start(&self, start: Start) {
        let told = self.meters().filter(|meter| meter.needs_starts());
        told.for_each(|meter| meter.start(&self.stats, start));
    }

    /// Passes on to the meters that want it what the endpoint says of its load.
    pub(crate) fn report(&self, report: &LoadReport, now: Instant) {
        let told = self.meters().filter(|meter| meter.needs_reports());
        told.for_each(|meter| meter.report(&self.stats, report, now));
    }

    /// True if these are the meters that came with the endpoint.
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
        f.debug_struct("Member")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("vitals", &self.stats)
            .finish_non_exhaustive()
    }
}
