use std::sync::Arc;

use crate::{
    outcome::Attempt,
    strategy::{CHUNK, Candidate, Candidates, Chunk},
};

/// The endpoints at one time, and the picker over them. Never changed once published.
pub(super) struct Snapshot<S, P> {
    pub(super) picker: P,
    pub(super) candidates: Candidates,
    /// The services, at the positions of their candidates.
    pub(super) services: Arc<[Chunk<S>]>,
    /// How many endpoints there are, eligible or not.
    pub(super) endpoints: usize,
    pub(super) version: u64,
}

impl<S: Clone, P> Snapshot<S, P> {
    /// Takes a slot at the candidate and a clone of its service; `None` if no slot is free, or if
    /// the picker made the candidate up.
    #[inline]
    pub(super) fn engage(
        &self,
        candidate: &Candidate,
        started: Option<tokio::time::Instant>,
    ) -> Option<(S, Attempt)> {
        let position = candidate.position();
        let service = self.services.get(position / CHUNK)?[position % CHUNK].as_ref()?;
        let attempt = Attempt::begin(&candidate.member, started)?;
        Some((service.clone(), attempt))
    }
}
