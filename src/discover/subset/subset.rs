use std::{
    collections::BTreeMap,
    error::Error as StdError,
    fmt::{self, Display},
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use indexmap::IndexMap;
use pin_project_lite::pin_project;

use crate::hash::stable_hash_of;
use crate::{
    discover::{
        Discover, Update,
        adapter::known::{self, Known},
    },
    endpoint::{Endpoint, EndpointStats},
};

/// How one client of many chooses the endpoints it uses of a large fleet:
/// [`RendezvousSubset`](crate::discover::RendezvousSubset), [`Aperture`](crate::discover::Aperture), or your own.
pub trait Subsetting {
    /// Chooses among the endpoints of one tier, which come in no particular order: the positions of
    /// the chosen, each once, with the weight it shall have. Positions out of range are ignored.
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)>;

    /// Tells whether to choose anew though the fleet is the same; `None` if that will never be.
    fn poll_changed(&mut self, _cx: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(None)
    }
}

/// An endpoint as [`Subsetting`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetMember {
    /// A hash of the key's text, which all clients agree on.
    pub id: u64,
    /// The weight that discovery gave it.
    pub weight: u32,
    /// Whether it may get requests; see
    /// [`Attributes::is_eligible`](crate::endpoint::Attributes::is_eligible).
    pub eligible: bool,
}

impl FleetMember {
    /// An eligible member of weight 1.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self { id, weight: 1, eligible: true }
    }
}

/// A subset or a place among clients that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSubset {
    /// A subset of no endpoints was asked for.
    Empty,
    /// A client's index is not below the number of clients.
    Placement {
        /// The index.
        index: u32,
        /// The number of clients.
        clients: u32,
    },
}

impl Display for InvalidSubset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a subset needs at least 1 endpoint; ask for more than 0"),
            Self::Placement { index, clients } => write!(
                f,
                "client {index} of {clients} can't be: indexes begin at 0 and end below the number \
                 of clients"
            ),
        }
    }
}

impl StdError for InvalidSubset {}

/// Updates taken in before a subset is chosen, at the most.
const UPDATES_PER_CHOICE: usize = 2048;

pin_project! {
    /// Passes a subset of the endpoints on. The stream of
    /// [`DiscoverExt::subset`](crate::discover::DiscoverExt::subset).
    ///
    /// Each tier has a subset of its own, so that none is lost. A burst of updates leads to one
    /// choice, and the subset is passed on as one change if it has changed. An endpoint that leaves
    /// the subset and comes back is a new one.
    #[project = SubsetProjection]
    pub struct Subset<D: Discover, S> {
        #[pin]
        discover: D,
        subsetting: S,
        fleet: Known<D::Key, D::Target>,
        shown: Known<D::Key, D::Target>,
        changed: bool,
        ended: bool,
        error: Option<D::Error>,
    }
}

impl<D: Discover, S> Subset<D, S> {
    pub(crate) fn new(discover: D, subsetting: S) -> Self {
        Self {
            discover,
            subsetting,
            fleet: Known::new(),
            shown: Known::new(),
            changed: false,
            ended: false,
            error: None,
        }
    }
}

impl<D, S> SubsetProjection<'_, D, S>
where
    D: Discover,
    D::Key: Clone + Display + Eq + Hash,
    D::Target: Clone + PartialEq,
    S: Subsetting,
{
    /// Takes in what the source has; true if it may have more at once.
    fn take_in(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..UPDATES_PER_CHOICE {
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

    /// Chooses anew; the subset if it is another than before.
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
                let position = positions.get(index);
                let Some((key, endpoint)) = position.and_then(|at| self.fleet.get_index(*at))
                else {
                    continue;
                };
                let stats = match self.shown.get(key) {
                    Some(shown) => Arc::clone(shown.stats()),
                    None => Arc::new(EndpointStats::new()),
                };
                let endpoint = endpoint.clone().with_weight(weight).with_stats(stats);
                chosen.insert(key.clone(), endpoint);
            }
        }
        let changed = !same(&chosen, self.shown);
        *self.shown = chosen;
        changed.then(|| known::reset(self.shown))
    }
}

/// True if both have the same endpoints, in whatever order.
fn same<K: Eq + Hash, T: PartialEq>(
    one: &IndexMap<K, Endpoint<T>>,
    other: &IndexMap<K, Endpoint<T>>,
) -> bool {
    one.len() == other.len() && one.iter().all(|(key, endpoint)| other.get(key) == Some(endpoint))
}

impl<D, S> Stream for Subset<D, S>
where
    D: Discover,
    D::Key: Clone + Display + Eq + Hash,
    D::Target: Clone + PartialEq,
    S: Subsetting,
{
    type Item = Result<Update<D::Key, D::Target>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(error) = this.error.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let more = this.take_in(cx);
            let policy = this.subsetting.poll_changed(cx);
            *this.changed |= policy == Poll::Ready(Some(()));
            if std::mem::take(this.changed) {
                if let Some(update) = this.choose() {
                    return Poll::Ready(Some(Ok(update)));
                }
            }
            match policy {
                _ if more => {}
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) if *this.ended => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<D: Discover + fmt::Debug, S: fmt::Debug> fmt::Debug for Subset<D, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subset")
            .field("discover", &self.discover)
            .field("subsetting", &self.subsetting)
            .field("fleet", &self.fleet.len())
            .field("shown", &self.shown.len())
            .finish_non_exhaustive()
    }
}
