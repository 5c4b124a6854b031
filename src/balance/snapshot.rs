use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    Unavailable,
    endpoint::{Health, Tried},
    outcome::{Attempt, PickMetadata},
    strategy::{CHUNK, Candidate, Candidates, Chunk, explain::Rules},
};

/// The endpoints at one moment, and the picker over them. It does not change once it is published.
pub(super) struct Snapshot<S, P> {
    pub(super) picker: P,
    pub(super) candidates: Candidates,
    /// The services, at the positions of their candidates.
    pub(super) services: Arc<[Chunk<S>]>,
    /// The number of endpoints, eligible or not.
    pub(super) endpoints: usize,
    /// A meter measures latency, so that attempts read the clock.
    pub(super) timed: bool,
    /// Some endpoints have an allowance of requests.
    pub(super) rationed: bool,
    /// The strategy's messages to the operator.
    pub(super) notices: Arc<[String]>,
    /// What wrappers without a picker did, for explanations.
    pub(super) rules: Rules,
    pub(super) version: u64,
}

impl<S, P> Snapshot<S, P> {
    /// Takes a slot at a candidate of this snapshot and clones its service. Returns `None` if no
    /// slot is free.
    #[inline]
    pub(super) fn start_attempt(
        &self,
        candidate: &Candidate,
        started: Option<Instant>,
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

    /// Returns true if no other eligible endpoint than `candidate` has not been `tried`.
    #[inline]
    pub(super) fn is_last_choice(&self, candidate: &Candidate, tried: &Tried) -> bool {
        if tried.is_empty() {
            return self.candidates.len() <= 1;
        }
        let is_other = |other: &Candidate| !Arc::ptr_eq(other.stats(), candidate.stats());
        // Ends at the first endpoint that was not tried, after few steps.
        !self.candidates.iter().any(|other| is_other(other) && !tried.contains(other.stats()))
    }

    /// Returns the service of a candidate of this snapshot.
    #[inline]
    pub(super) fn service(&self, candidate: &Candidate) -> Option<&S> {
        let position = self.position(candidate)?;
        self.services.get(position / CHUNK)?[position % CHUNK].as_ref()
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

    /// Returns the position of the candidate, or `None` if the picker returned one that is not of
    /// this snapshot.
    #[inline]
    pub(super) fn position(&self, candidate: &Candidate) -> Option<usize> {
        let position = candidate.position();
        let ours = self.candidates.at(position)?;
        Arc::ptr_eq(ours.stats(), candidate.stats()).then_some(position)
    }
}
