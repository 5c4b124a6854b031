use std::sync::Arc;

use tokio::time::Instant;

use super::{Candidate, Rng};
use crate::{
    endpoint::{Slots, Tried},
    load::Now,
    outcome::PickMetadata,
};

/// What a pick knows besides the request: the time, random numbers, and which candidates are full
/// or already tried.
#[derive(Debug)]
pub struct PickContext<'a> {
    rng: &'a mut Rng,
    now: Now,
    tried: &'a Tried,
    /// Slots reserved for this request, which has waited for them.
    offers: &'a [Arc<Slots>],
    attempt: u32,
    pick_metadata: PickMetadata,
    /// False if every candidate is accepted, so that pickers need not check each.
    restricted: bool,
    /// A limit of the strategy's own: returns whether a candidate has room under it.
    limit: Option<fn(&Candidate) -> bool>,
    /// The picker has no candidate for this request, whether full or not.
    no_match: bool,
    wait: Wait,
}

/// Whether the request may wait if nothing is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// It waits if no eligible candidate has a free slot.
    IfAllFull,
    /// It waits for full candidates of its part, although others have free slots.
    Allowed,
    /// It must not wait: a limit of the strategy's own keeps it from a candidate that has a free
    /// slot, and nothing would wake it when that limit allows more.
    #[cfg_attr(
        not(feature = "lambda"),
        allow(dead_code, reason = "only `lambda` has such a limit")
    )]
    Forbidden,
}

impl<'a> PickContext<'a> {
    /// Creates a context for one pick that avoids the endpoints in `tried`.
    pub fn new(rng: &'a mut Rng, now: Now, tried: &'a Tried) -> Self {
        Self { restricted: true, tried, ..Self::unrestricted(rng, now) }
    }

    /// Sets the slots that are reserved for the request.
    pub(crate) fn with_offers(self, offers: &'a [Arc<Slots>]) -> Self {
        Self { offers, ..self }
    }

    /// Sets the number of the request's attempt, 1 for the first. Default 1.
    #[must_use]
    pub fn for_attempt(self, number: u32) -> Self {
        Self { attempt: number, ..self }
    }

    /// Creates a context that accepts every candidate: none has a limit and none was tried.
    #[inline]
    pub(crate) fn unrestricted(rng: &'a mut Rng, now: Now) -> Self {
        static UNTRIED: Tried = Tried::none();
        Self {
            rng,
            now,
            tried: &UNTRIED,
            offers: &[],
            attempt: 1,
            pick_metadata: PickMetadata::default(),
            restricted: false,
            limit: None,
            no_match: false,
            wait: Wait::IfAllFull,
        }
    }

    /// Returns the random number generator.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Returns the time of the pick. The first call reads the clock; later calls return the same
    /// time.
    #[inline]
    pub fn now(&mut self) -> Instant {
        self.now.get()
    }

    /// Returns the time of the pick as a [`Load`](crate::load::Load) takes it.
    #[inline]
    pub fn clock(&mut self) -> &mut Now {
        &mut self.now
    }

    /// Returns the number of the request's attempt that this pick is for, 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the endpoints that the request has tried.
    #[must_use]
    pub fn tried(&self) -> &Tried {
        self.tried
    }

    /// Returns true if the request has tried the candidate.
    #[inline]
    #[must_use]
    pub fn has_tried(&self, candidate: &Candidate) -> bool {
        self.tried.contains(candidate.stats())
    }

    /// Returns the class of the request, by which [loads](crate::load::PerClass) may be kept apart;
    /// 0 unless [`set_class`](Self::set_class) was called.
    #[inline]
    #[must_use]
    pub fn class(&self) -> u32 {
        self.pick_metadata.class
    }

    /// Sets the class of the request. Meters get it with the attempt.
    #[inline]
    pub fn set_class(&mut self, class: u32) {
        self.pick_metadata.class = class;
    }

    /// Returns true if the request may go to the candidate at once: the candidate has a free slot,
    /// or one that is reserved for this request.
    #[inline]
    #[must_use]
    pub fn has_room(&self, candidate: &Candidate) -> bool {
        (candidate.has_room()
            || !self.offers.is_empty() && candidate.endpoint_state.is_offered(self.offers))
            && self.limit.is_none_or(|has_room| has_room(candidate))
    }

    /// Returns true if the candidate has room and the request has not tried it.
    ///
    /// It is a preference: a picker that finds no such candidate returns another one.
    #[inline]
    #[must_use]
    pub fn accepts(&self, candidate: &Candidate) -> bool {
        !self.restricted || (self.has_room(candidate) && !self.has_tried(candidate))
    }

    /// Returns true if every candidate is accepted, so that a picker need not call
    /// [`accepts`](Self::accepts).
    #[inline]
    #[must_use]
    pub fn accepts_all(&self) -> bool {
        !self.restricted
    }

    /// Stores a word for the balancer's tracker, which finds it in the
    /// [attempt](crate::outcome::Attempt::metadata). A later call replaces it.
    #[inline]
    pub fn set_metadata(&mut self, metadata: u64) {
        self.pick_metadata.note = metadata;
    }

    /// Returns the stored word, or 0.
    #[inline]
    #[must_use]
    pub fn metadata(&self) -> u64 {
        self.pick_metadata.note
    }

    #[inline]
    pub(crate) fn pick_metadata(&self) -> PickMetadata {
        self.pick_metadata
    }

    /// Records whether nothing was picked because no candidate matches the request. The request
    /// must not wait for candidates that do not match.
    pub(super) fn set_no_match(&mut self, no_match: bool) {
        self.no_match = no_match;
    }

    /// Returns and clears what [`set_no_match`](Self::set_no_match) has recorded.
    pub(super) fn take_no_match(&mut self) -> bool {
        std::mem::take(&mut self.no_match)
    }

    /// Lets the request wait if nothing is picked, although other candidates have room.
    #[cold]
    pub(super) fn allow_wait(&mut self) {
        // `Forbidden` wins: another part may have forbidden it before.
        if self.wait == Wait::IfAllFull {
            self.wait = Wait::Allowed;
        }
    }

    /// Rejects the request if no candidate with room is picked, although it could wait for full
    /// ones: nothing would wake it when the limit that keeps it from another candidate allows more.
    #[cfg(feature = "lambda")]
    #[cold]
    pub(crate) fn set_refused(&mut self) {
        self.wait = Wait::Forbidden;
    }

    /// Picks while candidates count as full for which `has_room` returns false.
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

    /// Returns true if the request waits although some candidate has room.
    pub(crate) fn waits(&self) -> bool {
        self.wait == Wait::Allowed
    }

    /// Returns true if the request must not wait for this candidate, which is full.
    pub(crate) fn is_refused_at(&self, candidate: &Candidate) -> bool {
        self.wait == Wait::Forbidden && !self.has_room(candidate)
    }
}
