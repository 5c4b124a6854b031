use std::{
    collections::BTreeMap,
    fmt::Display,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;

use crate::{
    discover::{
        Discover, Update,
        adapter::known::{self, Known},
    },
    endpoint::{Endpoint, EndpointStats},
    hash::stable_hash_of,
};

/// Selects the endpoints that a client uses:
/// [`RendezvousSubset`](crate::discover::RendezvousSubset),
/// [`ApertureSubset`](crate::discover::ApertureSubset), or your own.
pub trait Subsetting {
    /// Selects among the endpoints of a tier, which are in no particular order. Returns the
    /// positions of the selected endpoints, each once, with their new weights. Invalid positions
    /// are ignored.
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)>;

    /// Polls for a reason to select again although the endpoints are the same; `None` if there will
    /// be no such reason.
    fn poll_changed(&mut self, _cx: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(None)
    }
}

/// An endpoint as [`Subsetting`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetMember {
    /// A hash of the key's text, which is the same for all clients.
    pub id: u64,
    /// The weight from discovery.
    pub weight: u32,
    /// Whether the endpoint may get requests; see
    /// [`Attributes::is_eligible`](crate::endpoint::Attributes::is_eligible).
    pub eligible: bool,
}

impl FleetMember {
    /// Creates an eligible member of weight 1.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self { id, weight: 1, eligible: true }
    }
}

/// The largest number of updates that are applied before a subset is selected.
const MAX_UPDATES_PER_CHOICE: usize = 2048;

adapter! {
    /// Passes on a subset of the endpoints. The stream of
    /// [`DiscoverExt::subset`](crate::discover::DiscoverExt::subset).
    ///
    /// Each tier has its own subset, so that no tier is lost. A burst of updates causes one
    /// selection. A subset that has changed is passed on as one change. An endpoint that leaves the
    /// subset and returns is a new endpoint.
    project = SubsetProjection,
    pub struct SubsetEndpoints<D, S>(subsetting: S) {
        // All endpoints of the source.
        fleet: Known<D::Key, D::Target> = Known::new(),
        // The subset that was passed on last.
        subset: Known<D::Key, D::Target> = Known::new(),
        changed: bool = false,
        ended: bool = false,
        error: Option<D::Error> = None,
    }
}

impl<D: Discover<Key: Clone + Display + Eq + Hash, Target: Clone + PartialEq>, S: Subsetting>
    SubsetProjection<'_, D, S>
{
    /// Applies the updates that are ready; true if more may be.
    fn apply_updates(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..MAX_UPDATES_PER_CHOICE {
            if *self.ended {
                return false;
            }
            match self.discover.as_mut().poll_discover(cx) {
                Poll::Pending => return false,
                Poll::Ready(None) => *self.ended = true,
                Poll::Ready(Some(Ok(update))) => *self.changed |= known::apply(self.fleet, update),
                Poll::Ready(Some(Err(error))) => {
                    *self.error = Some(error);
                    return true;
                }
            }
        }
        true
    }

    /// Selects again, and returns the subset if it has changed.
    fn choose(&mut self) -> Option<Update<D::Key, D::Target>> {
        let mut tiers: BTreeMap<u32, (Vec<usize>, Vec<FleetMember>)> = BTreeMap::new();
        for (position, (key, endpoint)) in self.fleet.iter().enumerate() {
            let (positions, members) = tiers.entry(endpoint.tier()).or_default();
            positions.push(position);
            members.push(FleetMember {
                id: stable_hash_of(key),
                weight: endpoint.weight(),
                eligible: endpoint.is_eligible(),
            });
        }
        let mut chosen = Known::new();
        for (positions, members) in tiers.values() {
            for (index, weight) in self.subsetting.choose(members) {
                let Some(&position) = positions.get(index) else { continue };
                let Some((key, endpoint)) = self.fleet.get_index(position) else { continue };
                // An endpoint that stays in the subset keeps its statistics; one that returns or
                // has another target is new.
                let stays = |old: &&Endpoint<_>| !endpoint.origin().replaces(old.origin());
                let stats = match self.subset.get(key).filter(stays) {
                    Some(selected) => Arc::clone(selected.stats()),
                    None => Arc::new(EndpointStats::new()),
                };
                let endpoint = endpoint.clone().with_weight(weight).with_stats(stats);
                chosen.insert(key.clone(), endpoint);
            }
        }
        // Compares without regard to the order.
        let changed = chosen != *self.subset;
        *self.subset = chosen;
        changed.then(|| known::reset(self.subset))
    }
}

impl<D: Discover<Key: Clone + Display + Eq + Hash, Target: Clone + PartialEq>, S: Subsetting> Stream
    for SubsetEndpoints<D, S>
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(error) = this.error.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let more = this.apply_updates(cx);
            let subsetting = this.subsetting.poll_changed(cx);
            *this.changed |= subsetting == Poll::Ready(Some(()));
            if std::mem::take(this.changed) {
                if let Some(update) = this.choose() {
                    return Poll::Ready(Some(Ok(update)));
                }
            }
            match subsetting {
                // Polled again: only a poll that returns `Pending` registers the waker.
                _ if more => {}
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) if *this.ended => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
