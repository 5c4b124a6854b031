use std::{
    fmt, iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    built_parts::{BuiltParts, PartPicker},
    shares::{SharesReader, shares},
};
use crate::{
    ConfigError,
    hash::{mix, stable_hash},
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, HashKey, Pick, PickContext, Rng, Shares,
        Strategy,
        explain::{Brief, Observe, observed_pick},
        hash::hash_order::HashEntry,
        round_robin::order::Order,
    },
};

/// Splits traffic between groups of endpoints by shares, as for a canary. Each group has its own
/// strategy.
///
/// ```
/// use tower_lb::strategy::{Candidate, P2c, Split};
///
/// let version =
///     |version| move |endpoint: &Candidate| endpoint.metadata().get("version") == Some(version);
/// let (strategy, shares) = Split::builder()
///     .group("stable", 95, version("1"), P2c::default())
///     .group("canary", 5, version("2"), P2c::default())
///     .build()?;
/// // Later, while the balancer serves:
/// shares.set([("stable", 50), ("canary", 50)])?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
///
/// **Shares are exact, not random.** With 95 and 5, one of any 20 consecutive requests goes to the
/// canary, counted over all clones of the balancer. With [`sticky_by`](SplitBuilder::sticky_by),
/// requests of the same key stay in the same group instead. A group whose share is raised keeps its
/// keys and gains some.
///
/// **A group without eligible endpoints** passes its share on to the other groups, in proportion to
/// their shares. If a group has no [accepted](PickContext::accepts) endpoint for a request, another
/// group takes it. A group with share 0 gets no request.
///
/// An endpoint belongs to the first group whose predicate returns true. An endpoint of no group
/// gets no request.
///
/// Source: turns as in [`RoundRobin`](crate::strategy::RoundRobin); keys by weighted rendezvous
/// hashing (Schindelhauer and Schomaker, 2005).
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

/// A [`HashKey`] that gives no request a key: a split takes turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTurns;

impl<Req> HashKey<Req> for ByTurns {
    #[inline]
    fn hash(&self, _request: &Req) -> Option<u64> {
        None
    }
}

impl Split<(), ByTurns> {
    /// Returns a builder without groups.
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
    /// Adds a group.
    ///
    /// `share` is relative to the shares of the other groups. `belongs` decides which endpoints are
    /// in the group, and `strategy` selects among them. The meter of the first group's strategy
    /// serves the endpoints of all groups.
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

    /// Keeps requests of the same key in the same group, in every process. Requests without a key
    /// take turns. Default: all requests take turns.
    pub fn sticky_by<Req, K2: HashKey<Req>>(self, key: K2) -> SplitBuilder<S, K2> {
        SplitBuilder { groups: self.groups, turn: self.turn, key }
    }

    /// Sets the first turn, for tests and simulations. Default: a random turn.
    #[must_use]
    pub fn starting_at(mut self, turn: u64) -> Self {
        self.turn = turn;
        self
    }

    /// Builds the strategy and a handle that changes the shares. The driver keeps running while a
    /// handle exists.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] without groups, if two groups have the same name, or if all shares are 0.
    pub fn build(self) -> Result<(Split<S, K>, Shares), ConfigError> {
        let named = self.groups.iter().map(|(group, share)| (Arc::clone(&group.name), *share));
        let (handle, shares) = shares(named)?;
        let groups = self.groups.into_iter().map(|(group, _)| group).collect();
        let turn = Arc::new(AtomicU64::new(self.turn));
        Ok((Split { groups, shares, turn, key: Arc::new(self.key) }, handle))
    }
}

impl<S: Strategy, K> Strategy for Split<S, K> {
    type Picker = SplitPicker<S::Picker, K>;

    /// Builds the groups that have a share and endpoints. The others have no notices or events
    /// until that changes.
    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        // Before the shares are read, so that no change is missed.
        context.rebuild_on(self.shares.changes());
        let group_of = |candidate| self.groups.iter().position(|group| (group.belongs)(candidate));
        let mut parts = candidates.partition(group_of);
        let shares = self.shares.current();
        let (mut groups, mut all) = (Vec::new(), BuiltParts::default());
        for ((index, group), share) in self.groups.iter_mut().enumerate().zip(shares) {
            let Some(part) = parts.remove(&index).filter(|_| share > 0) else { continue };
            let built = group.strategy.build(&part, context);
            let entry = HashEntry { hash: stable_hash(&*group.name), weight: share };
            let part = all.add(&group.name, built);
            groups.extend(part.map(|part| (Available { part, entry }, share)));
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
#[expect(unnameable_types, reason = "named as <Split as Strategy>::Picker")]
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
    /// Decides which keys belong to the group.
    entry: HashEntry,
}

impl<P, K> SplitPicker<P, K> {
    #[inline]
    fn group<Req>(&self, request: &Req, observer: &mut impl Observe) -> usize
    where
        K: HashKey<Req>,
    {
        let Some(key) = self.key.hash(request) else {
            let turn = observer.turn(&self.turn);
            observer.say(|| self.order.describe(turn));
            return self.order.index(turn);
        };
        observer.say(|| format!("the key's hash is {key:#x}, the highest bid for it wins"));
        let key = mix(key);
        let scores = self.groups.iter().map(|group| group.entry.draw(key)).enumerate();
        let best = scores.reduce(|best, one| if one.1.beats(best.1) { one } else { best });
        best.map_or(0, |(index, _)| index)
    }
}

impl<P, K> SplitPicker<P, K> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
        K: HashKey<Req>,
    {
        observer.step("split");
        let index = self.group(request, observer);
        let first = self.groups.get(index)?;
        observer.say(|| {
            let all: f64 = self.groups.iter().map(|group| f64::from(group.entry.weight)).sum();
            let share = f64::from(first.entry.weight) / all * 100.0;
            format!("group {}, whose share is {share:.1} %", Brief::name(first.part.name()))
        });
        let others = self.groups[index + 1..].iter().chain(&self.groups[..index]);
        let parts = iter::once(first).chain(others).map(|group| &group.part);
        PartPicker::first_accepted_with(parts, request, context, observer)
    }
}

impl<P, K, Req> Pick<Req> for SplitPicker<P, K>
where
    P: Pick<Req>,
    K: HashKey<Req>,
{
    observed_pick!(Req);
}

impl<S: Clone> Clone for Group<S> {
    fn clone(&self) -> Self {
        let (name, belongs) = (Arc::clone(&self.name), Arc::clone(&self.belongs));
        Self { name, belongs, strategy: self.strategy.clone() }
    }
}

impl<S: Clone, K> Clone for Split<S, K> {
    /// The clone counts its own turns, from the present one on. It has the same shares.
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
