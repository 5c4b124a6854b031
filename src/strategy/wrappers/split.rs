use std::{
    fmt, iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    built_parts::{BuiltParts, PartPicker, first_accepted},
    shares::{SharesReader, shares},
};
use crate::{
    hash::{mix, stable_hash},
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, HashKey, Pick, PickContext, Rng, Shares,
        SplitError, Strategy, hash::hash_order::HashEntry, round_robin::order::Order,
    },
};

/// Splits traffic between groups of endpoints by shares, as for a canary; each group has a strategy
/// of its own.
///
/// ```
/// use tower_lb::strategy::{Candidate, P2c, Split};
///
/// let version = |wanted| move |endpoint: &Candidate| endpoint.metadata().get("version") == Some(wanted);
/// let (strategy, shares) = Split::builder()
///     .group("stable", 95, version("1"), P2c::default())
///     .group("canary", 5, version("2"), P2c::default())
///     .build()?;
/// // Later, while it serves:
/// shares.set([("stable", 50), ("canary", 50)])?;
/// # Ok::<_, tower_lb::strategy::SplitError>(())
/// ```
///
/// **Shares are kept, not drawn**: with 95 and 5, of any 20 requests in a row one goes to the canary,
/// over all clones of the balancer. With [`sticky_by`](SplitBuilder::sticky_by) requests of the same
/// key stay in the same group instead, and a group whose share is raised only gains keys.
///
/// **A group without eligible endpoints** hands its share to the others, in proportion to theirs. Where
/// endpoints may be full, or were tried before by the request, another group takes a request for
/// which its own has none that [will do](PickContext::accepts). A share of 0 means no request at all.
///
/// An endpoint belongs to the first group that claims it; one that none claims gets nothing.
///
/// Source: turns as in [`RoundRobin`](crate::strategy::RoundRobin); keys by weighted rendezvous hashing (Schindelhauer and
/// Schomaker, 2005).
pub struct Split<S, K = ByTurns> {
    groups: Vec<Group<S>>,
    shares: SharesReader,
    turn: Arc<AtomicU64>,
    key: Arc<K>,
}

struct Group<S> {
    name: Arc<str>,
    belongs: Arc<dyn Fn(&Candidate) -> bool + Send + Sync>,
    strategy: S,
}

/// No request has a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTurns;

impl<Req> HashKey<Req> for ByTurns {
    #[inline]
    fn hash(&self, _request: &Req) -> Option<u64> {
        None
    }
}

impl Split<(), ByTurns> {
    /// A split without groups yet.
    #[must_use]
    pub fn builder<S>() -> SplitBuilder<S> {
        SplitBuilder { groups: Vec::new(), turn: Rng::from_entropy().bits(), key: ByTurns }
    }
}

/// Collects the groups of a [`Split`].
pub struct SplitBuilder<S, K = ByTurns> {
    groups: Vec<(Group<S>, u32)>,
    turn: u64,
    key: K,
}

impl<S, K> SplitBuilder<S, K> {
    /// Adds a group: its name, its share relative to the others', who belongs to it, and how one of
    /// them is chosen. What learns from finished requests is the first group's, for all endpoints.
    #[must_use]
    pub fn group(
        mut self,
        name: impl Into<Arc<str>>,
        share: u32,
        belongs: impl Fn(&Candidate) -> bool + Send + Sync + 'static,
        strategy: S,
    ) -> Self {
        let (name, belongs) = (name.into(), Arc::new(belongs));
        self.groups.push((Group { name, belongs, strategy }, share));
        self
    }

    /// Keeps requests of the same key in the same group, in every process; those without a key go by
    /// turns. Default: all go by turns.
    pub fn sticky_by<Req, K2: HashKey<Req>>(self, key: K2) -> SplitBuilder<S, K2> {
        SplitBuilder { groups: self.groups, turn: self.turn, key }
    }

    /// Starts at a given turn, for tests and simulations. Default: a random one.
    #[must_use]
    pub fn starting_at(mut self, turn: u64) -> Self {
        self.turn = turn;
        self
    }

    /// The strategy, and a handle by which shares can be changed. The driver runs on for changes as
    /// long as there is a handle.
    ///
    /// # Errors
    ///
    /// [`SplitError`] if there are no groups, two of the same name, or shares that are all 0.
    pub fn build(self) -> Result<(Split<S, K>, Shares), SplitError> {
        let named = self.groups.iter().map(|(group, share)| (Arc::clone(&group.name), *share));
        let (handle, shares) = shares(named)?;
        let groups = self.groups.into_iter().map(|(group, _)| group).collect();
        let turn = Arc::new(AtomicU64::new(self.turn));
        Ok((Split { groups, shares, turn, key: Arc::new(self.key) }, handle))
    }
}

impl<S: Strategy, K> Strategy for Split<S, K> {
    type Picker = SplitPicker<S::Picker, K>;

    /// Groups without a share or without members are not built: nothing of them is worth a notice or a
    /// new picker until that changes.
    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        context.rebuild_on(self.shares.changes());
        let group_of = |candidate| self.groups.iter().position(|group| (group.belongs)(candidate));
        let mut parts = candidates.partition(group_of);
        let shares = self.shares.current();
        let (mut groups, mut all) = (Vec::new(), BuiltParts::default());
        for ((index, group), share) in self.groups.iter_mut().enumerate().zip(shares) {
            let Some(part) = parts.remove(&index).filter(|_| share > 0) else { continue };
            let built = group.strategy.build(&part, context);
            let seat = HashEntry { hash: stable_hash(&*group.name), weight: share };
            let part = all.add(&group.name, built);
            groups.extend(part.map(|part| (Available { part, seat }, share)));
        }
        let (groups, shares): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
        let picker = SplitPicker {
            groups: groups.into(),
            order: Order::new(&shares),
            turn: Arc::clone(&self.turn),
            key: Arc::clone(&self.key),
        };
        all.finish(candidates, picker)
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.groups.first()?.strategy.meter()
    }
}

/// The picker of [`Split`].
pub struct SplitPicker<P, K> {
    groups: Box<[Available<P>]>,
    order: Order,
    turn: Arc<AtomicU64>,
    key: Arc<K>,
}

/// A group that has eligible endpoints, and a share above 0.
#[derive(Debug)]
struct Available<P> {
    part: PartPicker<P>,
    /// What decides which keys are its own.
    seat: HashEntry,
}

impl<P, K> SplitPicker<P, K> {
    #[inline]
    fn group<Req>(&self, request: &Req) -> usize
    where
        K: HashKey<Req>,
    {
        let Some(key) = self.key.hash(request) else {
            return self.order.index(self.turn.fetch_add(1, Ordering::Relaxed));
        };
        let key = mix(key);
        let tickets = self.groups.iter().map(|group| group.seat.draw(key)).enumerate();
        let best = tickets.reduce(|best, one| if one.1.beats(best.1) { one } else { best });
        best.map_or(0, |(index, _)| index)
    }
}

impl<P, K, Req> Pick<Req> for SplitPicker<P, K>
where
    P: Pick<Req>,
    K: HashKey<Req>,
{
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let index = self.group(request);
        let first = self.groups.get(index)?;
        let others = self.groups[index + 1..].iter().chain(&self.groups[..index]);
        let parts = iter::once(first).chain(others).map(|group| &group.part);
        first_accepted(parts, request, context)
    }
}

impl<S: Clone> Clone for Group<S> {
    fn clone(&self) -> Self {
        let (name, belongs) = (Arc::clone(&self.name), Arc::clone(&self.belongs));
        Self { name, belongs, strategy: self.strategy.clone() }
    }
}

impl<S: Clone, K> Clone for Split<S, K> {
    /// Takes turns of its own, from where this one is; the shares are the same.
    fn clone(&self) -> Self {
        Self {
            groups: self.groups.clone(),
            shares: self.shares.clone(),
            turn: Arc::new(AtomicU64::new(self.turn.load(Ordering::Relaxed))),
            key: Arc::clone(&self.key),
        }
    }
}

impl<S: fmt::Debug, K> fmt::Debug for Split<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = self.shares.current();
        let groups = self.groups.iter().zip(shares);
        let groups = groups.map(|(group, share)| (&group.name, (share, &group.strategy)));
        f.debug_map().entries(groups).finish()
    }
}

impl<S: fmt::Debug, K> fmt::Debug for SplitBuilder<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups =
            self.groups.iter().map(|(group, share)| (&group.name, (share, &group.strategy)));
        f.debug_map().entries(groups).finish()
    }
}

impl<P: fmt::Debug, K> fmt::Debug for SplitPicker<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitPicker").field("groups", &self.groups).finish_non_exhaustive()
    }
}
