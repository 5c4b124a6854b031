use std::sync::Arc;

use tokio::time::Instant;

use super::{Candidate, Rng};
use crate::{
    endpoint::{Slots, Tried},
    load::Now,
    outcome::PickMetadata,
};

/// What a pick may know beside the request: the time, random numbers, and which candidates will not
/// do.
#[derive(Debug)]
pub struct PickContext<'a> {
    rng: &'a mut Rng,
    now: Now,
    tried: &'a Tried,
    /// Slots that are kept for the request, which has waited for them.
    offers: &'a [Arc<Slots>],
    attempt: u32,
    pick_metadata: PickMetadata,
    /// Not every candidate will do.
    restricted: bool,
    /// Tells candidates that have room by a limit of the strategy's own.
    limit: Option<fn(&Candidate) -> bool>,
    /// No candidate would do, full or not.
    away: bool,
    /// There are full candidates that the request may wait for.
    waits: bool,
    /// A candidate with room is kept from it by a limit of the strategy's own.
    refused: bool,
}

impl<'a> PickContext<'a> {
    /// A context for one pick. `tried` are the endpoints that the request should not go to again.
    pub fn new(rng: &'a mut Rng, now: Now, tried: &'a Tried) -> Self {
        Self { restricted: true, tried, ..Self::unrestricted(rng, now) }
    }

    /// The same for a request for which these slots are kept.
    pub(crate) fn with_offers(self, offers: &'a [Arc<Slots>]) -> Self {
        Self { offers, ..self }
    }

    /// The same for a later attempt of the request than the first.
    #[must_use]
    pub fn for_attempt(self, number: u32) -> Self {
        Self { attempt: number, ..self }
    }

    /// A context in which every candidate will do: none has a limit and none was tried.
    #[inline]
    pub(crate) fn unrestricted(rng: &'a mut Rng, now: Now) -> Self {
        static UNTRIED: Tried = Tried::none();
        let pick_metadata = PickMetadata::default();
        let (tried, offers, attempt): (_, &[_], _) = (&UNTRIED, &[], 1);
        let (restricted, limit) = (false, None);
        let (away, waits, refused) = (false, false, false);
        Self {
            rng,
            now,
            tried,
            offers,
            attempt,
            pick_metadata,
            restricted,
            limit,
            away,
            waits,
            refused,
        }
    }

    /// The generator of random numbers.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// The time of the pick. The clock is read when it is first asked for.
    #[inline]
    pub fn now(&mut self) -> Instant {
        self.now.get()
    }

    /// The same, for a [`Load`](crate::load::Load).
    #[inline]
    pub fn clock(&mut self) -> &mut Now {
        &mut self.now
    }

    /// The number of the request's attempt that the pick is for, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The endpoints that the request has been to.
    #[must_use]
    pub fn tried(&self) -> &Tried {
        self.tried
    }

    /// True if the request has been to the candidate before.
    #[inline]
    #[must_use]
    pub fn has_tried(&self, candidate: &Candidate) -> bool {
        self.tried.contains(candidate.stats())
    }

    /// The class of the request, by which loads may be kept apart; 0 unless
    /// [`set_class`](Self::set_class) was called.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u32 {
        self.pick_metadata.class
    }

    /// Says what class the request is of. Meters are told with the attempt.
    #[inline]
    pub fn set_class(&mut self, class: u32) {
        self.pick_metadata.class = class;
    }

    /// True if the balancer may send this request to the candidate at once. For a request that has
    /// waited, a slot that is kept for it is room.
    #[inline]
    #[must_use]
    pub fn has_room(&self, candidate: &Candidate) -> bool {
        (candidate.has_room()
            || !self.offers.is_empty() && candidate.endpoint_state.is_offered(self.offers))
            && self.limit.is_none_or(|has_room| has_room(candidate))
    }

    /// True if the candidate has room and the request has not been there. A preference: a picker
    /// that finds none returns another.
    #[inline]
    #[must_use]
    pub fn accepts(&self, candidate: &Candidate) -> bool {
        !self.restricted || (self.has_room(candidate) && !self.has_tried(candidate))
    }

    /// Leaves a word for the balancer's tracker, which finds it in the
    /// [attempt](crate::outcome::Attempt::metadata). Of several the last counts.
    #[inline]
    pub fn set_metadata(&mut self, note: u64) {
        self.pick_metadata.note = note;
    }

    /// The word that was left; 0 if none was.
    #[inline]
    #[must_use]
    pub fn note(&self) -> u64 {
        self.pick_metadata.note
    }

    /// Says whether nothing was picked because no candidate is for the request: it must not wait for
    /// them.
    pub(super) fn set_away(&mut self, away: bool) {
        self.away = away;
    }

    /// What was said, which is forgotten.
    pub(super) fn take_away(&mut self) -> bool {
        std::mem::take(&mut self.away)
    }

    /// If nothing is picked, the request waits, although other candidates have room.
    #[cold]
    pub(super) fn set_waits(&mut self) {
        self.waits = true;
    }

    /// Picks with candidates counted as full for which `has_room` says no.
    #[cfg(feature = "lambda")]
    #[cold]
    pub(crate) fn with_limit<R>(
        &mut self,
        has_room: fn(&Candidate) -> bool,
        pick: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let before = (self.limit.replace(has_room), std::mem::replace(&mut self.restricted, true));
        let picked = pick(self);
        (self.limit, self.restricted) = before;
        picked
    }

    /// If nothing with room is picked, the request is refused, although it could wait for full
    /// candidates: nothing would tell it when the limit that kept it from another allows more.
    #[cfg(feature = "lambda")]
    #[cold]
    pub(crate) fn set_refused(&mut self) {
        self.refused = true;
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits && !self.refused
    }

    /// True if the request must not wait for this candidate, which is full.
    pub(crate) fn is_refused_at(&self, candidate: &Candidate) -> bool {
        self.refused && !self.has_room(candidate)
    }

    #[inline]
    pub(crate) fn pick_metadata(&self) -> PickMetadata {
        self.pick_metadata
    }

    /// True if every candidate is accepted, so that there is no need to ask.
    #[inline]
    #[must_use]
    pub fn accepts_all(&self) -> bool {
        !self.restricted
    }
}
