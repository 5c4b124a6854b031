use std::{num::NonZeroU32, ptr::NonNull, sync::Arc};

use crate::{
    Unavailable,
    endpoint::{EndpointStats, Health, Moment, Tried},
    load::Now,
    outcome::{Attempt, Attempts, PickMetadata},
    strategy::{CHUNK, Candidate, Candidates, Chunk, Pick, PickContext, Rng, explain::Rules},
};

/// The endpoints at one moment, and the picker over them. It does not change once it is published.
pub(super) struct Snapshot<S, P> {
    pub(super) picker: P,
    pub(super) candidates: Candidates,
    /// The services, at the positions of their candidates.
    pub(super) services: Arc<[Chunk<EndpointService<S>>]>,
    /// The number of endpoints, eligible or not.
    pub(super) endpoints: usize,
    /// A meter measures latency, so that attempts read the clock.
    pub(super) timed: bool,
    /// Some endpoints have slots or an allowance of requests.
    pub(super) limited: bool,
    /// At most one endpoint is eligible.
    pub(super) is_single: bool,
    /// The strategy's messages to the operator.
    pub(super) notices: Arc<[String]>,
    /// What wrappers without a picker did, for explanations.
    pub(super) rules: Rules,
    pub(super) version: u64,
}

pub(super) static UNTRIED: Tried = Tried::none();

/// The service of an endpoint.
#[derive(Clone)]
pub(super) struct EndpointService<S> {
    pub(super) service: S,
    /// Tells the endpoint apart from those that were at its position before. Here, so that a
    /// request need not look up the candidate once more.
    mark: NonZeroU32,
}

const CACHE_LINE: usize = 64;

impl<S> EndpointService<S> {
    pub(super) fn new(service: S, stats: &Arc<EndpointStats>) -> Self {
        Self { service, mark: mark(stats) }
    }
}

/// Returns 32 bits of the address of the stats: four bytes fewer for each endpoint than all of it.
/// A picker that returns candidates of earlier snapshots keeps their stats alive, so that no other
/// stats have their address. Stats and their counts of references take two cache lines, so the
/// lowest bit is free.
#[inline]
fn mark(stats: &Arc<EndpointStats>) -> NonZeroU32 {
    NonZeroU32::MIN | (NonNull::from(&**stats).addr().get() / CACHE_LINE) as u32
}

impl<S, P> Snapshot<S, P> {
    /// Returns true if any request could be served.
    pub(super) fn is_open(&self) -> bool {
        !self.candidates.is_empty() && !self.limited
    }

    /// Picks an endpoint for a request, avoids those of its earlier and concurrent attempts, and
    /// takes a slot there. Returns `None` if no slot is free; slots that are offered to queued
    /// requests are not.
    #[inline(always)]
    pub(super) fn start<Req>(
        &self,
        request: &Req,
        attempts: Option<&Attempts>,
        rng: &mut Rng,
    ) -> Option<(S, Attempt)>
    where
        S: Clone,
        P: Pick<Req>,
    {
        match attempts {
            None if self.limited => self.start_limited(request, rng),
            // Twice, so that a pick without a time does not test for it.
            None if self.timed => self.start_first(request, rng, Now::read()),
            None => self.start_first(request, rng, Now::lazy()),
            Some(attempts) => self.start_next(request, attempts, rng),
        }
    }

    #[inline(always)]
    fn start_first<Req>(&self, request: &Req, rng: &mut Rng, now: Now) -> Option<(S, Attempt)>
    where
        S: Clone,
        P: Pick<Req>,
    {
        // No other function sees this context, so it stays in registers when the pick is inlined.
        self.start_with(request, PickContext::unrestricted(rng, now), &UNTRIED)
    }

    #[inline(never)]
    fn start_limited<Req>(&self, request: &Req, rng: &mut Rng) -> Option<(S, Attempt)>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let now = self.now();
        self.start_with(request, PickContext::new(rng, now, &UNTRIED), &UNTRIED)
    }

    #[inline(always)]
    fn start_with<Req>(
        &self,
        request: &Req,
        mut context: PickContext<'_>,
        tried: &Tried,
    ) -> Option<(S, Attempt)>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let started = context.clock().known();
        let candidate = self.picker.pick(request, &mut context)?;
        self.start_at(candidate, started, context.pick_metadata(), tried)
    }

    #[inline(never)]
    fn start_next<Req>(
        &self,
        request: &Req,
        attempts: &Attempts,
        rng: &mut Rng,
    ) -> Option<(S, Attempt)>
    where
        S: Clone,
        P: Pick<Req>,
    {
        let tried = attempts.tried();
        let context = PickContext::new(rng, self.now(), &tried);
        let mut context = context.for_attempt(attempts.number());
        let started = context.clock().known();
        let candidate = self.picker.pick(request, &mut context)?;
        if attempts.is_elsewhere() && tried.contains(candidate.stats()) {
            return None;
        }
        let attempt = self.start_at(candidate, started, context.pick_metadata(), &tried)?;
        attempts.picked(candidate.stats(), attempt.1.is_last_choice());
        Some(attempt)
    }

    /// Takes a slot at a candidate of this snapshot and clones its service.
    #[inline(always)]
    fn start_at(
        &self,
        candidate: &Candidate,
        started: Option<Moment>,
        pick_metadata: PickMetadata,
        tried: &Tried,
    ) -> Option<(S, Attempt)>
    where
        S: Clone,
    {
        let service = self.service(candidate)?.clone();
        let is_last_choice = self.is_last_choice(candidate, tried);
        let endpoint_state = &candidate.endpoint_state;
        Some((service, Attempt::begin(endpoint_state, started, pick_metadata, is_last_choice)?))
    }

    /// Returns the time of a pick, already read if attempts need it.
    #[inline]
    pub(super) fn now(&self) -> Now {
        if self.timed { Now::read() } else { Now::lazy() }
    }

    /// Returns true if no other eligible endpoint than `candidate` has not been `tried`.
    #[inline(always)]
    pub(super) fn is_last_choice(&self, candidate: &Candidate, tried: &Tried) -> bool {
        if tried.is_empty() {
            return self.is_single;
        }
        let is_other = |other: &Candidate| !Arc::ptr_eq(other.stats(), candidate.stats());
        // Ends at the first endpoint that was not tried, after few steps.
        !self.candidates.iter().any(|other| is_other(other) && !tried.contains(other.stats()))
    }

    /// Returns the service of the candidate, or `None` if the picker returned one that is not of
    /// this snapshot.
    #[inline(always)]
    pub(super) fn service(&self, candidate: &Candidate) -> Option<&S> {
        let position = candidate.position();
        let found = self.services.get(position / CHUNK)?[position % CHUNK].as_ref()?;
        (found.mark == mark(candidate.stats())).then_some(&found.service)
    }

    /// Counts why none of the endpoints can get a request. Takes time in proportion to their
    /// number.
    #[cold]
    pub(super) fn unavailable(&self) -> Unavailable {
        let mut why = Unavailable { endpoints: self.endpoints, ..Unavailable::default() };
        let mut eligible = vec![false; self.endpoints];
        for candidate in self.candidates.iter() {
            eligible[candidate.position()] = true;
        }
        let mut draining = None;
        for candidate in self.candidates.all() {
            let health = candidate.health();
            let example = || (Arc::clone(&candidate.endpoint_state.name), health.clone());
            match health {
                _ if eligible[candidate.position()] => why.not_ready += 1,
                Health::Draining(_) => {
                    why.draining += 1;
                    draining.get_or_insert_with(example);
                }
                Health::Unhealthy(_) => {
                    why.unhealthy += 1;
                    why.example.get_or_insert_with(example);
                }
                _ if candidate.weight() == 0 => why.zero_weight += 1,
                _ => why.excluded += 1,
            }
        }
        why.example = why.example.or(draining);
        why
    }
}
