use std::{collections::HashMap, fmt, hash::Hash, ops::Range, sync::Arc};

use tokio::time::Instant;

use super::{Candidate, PickContext, Rng};
use crate::endpoint::{Endpoint, EndpointState};

/// Candidates are kept in chunks of this many, so that a change of one endpoint copies one chunk and
/// shares the rest with the snapshot before.
pub(crate) const CHUNK: usize = 64;

pub(crate) type Chunk<T> = Arc<[Option<T>; CHUNK]>;

/// The endpoints that a strategy builds its picker from.
///
/// What it iterates over, counts and indexes are the **eligible** ones: serving, and of a weight
/// above 0. Wrappers that decide about health themselves look at [`everyone`](Self::everyone).
///
/// Cheap to clone, so that a picker can keep it.
#[derive(Clone)]
pub struct Candidates {
    store: Arc<[Chunk<Candidate>]>,
    eligible: View,
    everyone: View,
    /// Whether all eligible weights are equal, where that is known without looking.
    equal_weights: Option<bool>,
    /// See [`available`](Self::available); `None` if these are the whole themselves.
    whole: Option<Whole>,
    /// See [`confined`](Self::confined); `None` if all endpoints of the balancer can take over.
    reach: Option<View>,
    /// See [`others_suffice`](Self::others_suffice).
    others_suffice: bool,
    now: Instant,
}

/// The candidates that a part was taken from, where rules about how many are left go by those.
#[derive(Clone, Debug)]
struct Whole {
    eligible: View,
    everyone: View,
}

/// Some of the stored candidates: a number of the first, or a list of positions in ascending order.
#[derive(Clone, Debug)]
enum View {
    First(u32),
    Listed(Arc<[u32]>),
}

impl View {
    #[inline]
    fn position(&self, index: usize) -> Option<usize> {
        match self {
            Self::First(len) => (index < *len as usize).then_some(index),
            Self::Listed(positions) => positions.get(index).map(|&position| position as usize),
        }
    }

    fn contains(&self, position: u32) -> bool {
        match self {
            Self::First(len) => position < *len,
            Self::Listed(positions) => positions.binary_search(&position).is_ok(),
        }
    }

    fn positions(&self) -> Vec<u32> {
        match self {
            Self::First(len) => (0..*len).collect(),
            Self::Listed(positions) => positions.to_vec(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::First(len) => *len as usize,
            Self::Listed(positions) => positions.len(),
        }
    }
}

impl Candidates {
    /// `equal_weights` and `all_eligible` are about all the candidates of the store.
    pub(crate) fn from_store(
        store: Arc<[Chunk<Candidate>]>,
        len: u32,
        all_eligible: bool,
        equal_weights: Option<bool>,
    ) -> Self {
        let everyone = View::First(len);
        let eligible = everyone.clone();
        let all = Self {
            store,
            eligible,
            everyone,
            equal_weights,
            whole: None,
            reach: None,
            others_suffice: false,
            now: Instant::now(),
        };
        if all_eligible {
            return all;
        }
        Self { equal_weights, ..all.filter(|candidate| candidate.is_eligible()) }
    }

    /// Candidates by name and endpoint, for trying out a strategy without a balancer.
    ///
    /// The endpoints' meters come from `strategy`.
    pub fn for_strategy<'a, T: 'a, N: fmt::Display>(
        strategy: &impl super::Strategy,
        endpoints: impl IntoIterator<Item = (N, &'a Endpoint<T>)>,
    ) -> Self {
        let members = endpoints.into_iter().map(|(name, endpoint)| {
            let (_, attributes, stats, meters) = endpoint.as_ref().into_parts();
            let name = name.to_string().into();
            EndpointState::new(name, attributes, stats, strategy.meter(), meters, None)
        });
        let candidates: Vec<_> = members
            .zip(0..)
            .map(|(endpoint_state, position)| Candidate::new(Arc::new(endpoint_state), position))
            .collect();
        let len = candidates.len() as u32;
        let store = candidates
            .chunks(CHUNK)
            .map(|part| Arc::new(std::array::from_fn(|index| part.get(index).cloned())))
            .collect();
        Self::from_store(store, len, false, None)
    }

    /// The same at another time, for trying out a strategy in the time of a simulation.
    #[must_use]
    pub fn at_time(self, now: Instant) -> Self {
        Self { now, ..self }
    }

    /// When the picker is built: a strategy needs no clock of its own.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// How many are eligible.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.eligible.len()
    }

    /// True if none is eligible.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if all eligible candidates have the same weight, so that it needn't be looked at.
    #[must_use]
    pub fn have_equal_weights(&self) -> bool {
        self.equal_weights.unwrap_or_else(|| {
            let mut weights = self.iter().map(Candidate::weight);
            let first = weights.next();
            weights.all(|weight| Some(weight) == first)
        })
    }

    /// The eligible candidate at an index below [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Candidate> {
        self.at(self.eligible.position(index)?)
    }

    /// The eligible candidates.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Shows the eligible candidates at these indices one after the other: quicker than
    /// [`get`](Self::get) for each.
    #[inline]
    pub(super) fn visit<'a>(&'a self, indices: Range<usize>, mut see: impl FnMut(&'a Candidate)) {
        match &self.eligible {
            View::First(_) => {
                let (mut start, end) = (indices.start, indices.end.min(self.len()));
                while start < end {
                    let (offset, most) = (start % CHUNK, CHUNK.min(start % CHUNK + end - start));
                    let Some(chunk) = self.store.get(start / CHUNK) else { return };
                    chunk[offset..most].iter().flatten().for_each(&mut see);
                    start += most - offset;
                }
            }
            View::Listed(positions) => {
                let listed = positions.get(indices).unwrap_or_default();
                listed.iter().filter_map(|&position| self.at(position as usize)).for_each(see);
            }
        }
    }

    /// All candidates, also those that are unhealthy, draining or of weight 0.
    pub fn everyone(&self) -> impl Iterator<Item = &Candidate> {
        self.listed_in(&self.everyone)
    }

    /// All endpoints that can take over the traffic of these: those of the balancer, or of the part that
    /// these are [confined](Self::confined) to.
    pub fn anywhere(&self) -> impl Iterator<Item = &Candidate> {
        let all =
            self.reach.is_none().then(|| self.store.iter().flat_map(|one| one.iter().flatten()));
        let confined = self.reach.as_ref().map(|reach| self.listed_in(reach));
        all.into_iter().flatten().chain(confined.into_iter().flatten())
    }

    /// Says that no endpoints outside of these take over their traffic: what a wrapper tells parts between
    /// which requests don't move, so that a rule further in does not take out the last of them.
    #[must_use]
    pub fn confined(self) -> Self {
        Self { reach: Some(self.everyone.clone()), ..self }
    }

    /// All candidates of the whole that these are [a part of](Self::as_part_of).
    pub(super) fn of_whole(&self) -> impl Iterator<Item = &Candidate> {
        self.listed_in(self.whole.as_ref().map_or(&self.everyone, |whole| &whole.everyone))
    }

    fn listed_in<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a Candidate> {
        (0..view.len()).filter_map(|index| self.at(view.position(index)?))
    }

    /// Narrows the eligible ones down; [`everyone`](Self::everyone) stays.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.listed(&whole.eligible, &mut keep),
            everyone: whole.everyone.clone(),
        });
        Self { eligible: self.listed(&self.eligible, keep), whole, ..self.clone() }
    }

    /// The part of all candidates, eligible or not, for which `belongs` holds: a tier, a zone.
    #[must_use]
    pub fn part(&self, mut belongs: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.listed(&whole.eligible, &mut belongs),
            everyone: self.listed(&whole.everyone, &mut belongs),
        });
        Self {
            eligible: self.listed(&self.eligible, &mut belongs),
            everyone: self.listed(&self.everyone, belongs),
            equal_weights: None,
            whole,
            ..self.clone()
        }
    }

    /// Makes these a part of `whole`: rules about how many are left, such as
    /// [`Panic`](super::Panic), go by [`available`](Self::available) then, and come to the same result
    /// in all parts. For a wrapper whose parts take over each other's traffic, as zones do.
    #[must_use]
    pub fn as_part_of(self, whole: &Self) -> Self {
        let itself =
            || Whole { eligible: whole.eligible.clone(), everyone: whole.everyone.clone() };
        Self { whole: Some(whole.whole.clone().unwrap_or_else(itself)), ..self }
    }

    /// Counts the eligible candidates for which `counts` holds, and all for which it does: of these, or
    /// of the whole that these are [a part of](Self::as_part_of).
    #[must_use]
    pub fn available(&self, mut counts: impl FnMut(&Candidate) -> bool) -> (usize, usize) {
        let (eligible, everyone) = match &self.whole {
            Some(whole) => (&whole.eligible, &whole.everyone),
            None => (&self.eligible, &self.everyone),
        };
        let mut count = |view| self.listed_in(view).filter(|candidate| counts(candidate)).count();
        (count(eligible), count(everyone))
    }

    /// Says that endpoints which are none of these can take over the traffic of those of these that
    /// are not eligible: what a wrapper tells the parts it spreads traffic over, so that a panic rule
    /// further in does not hold without need.
    #[must_use]
    pub fn while_others_suffice(self, others_suffice: bool) -> Self {
        Self { others_suffice: self.others_suffice || others_suffice, ..self }
    }

    /// True if endpoints that are none of these can take over for those that are not eligible.
    #[must_use]
    pub fn others_suffice(&self) -> bool {
        self.others_suffice
    }

    /// Makes those eligible that are in any of `parts`, which must be views of the same candidates.
    #[must_use]
    pub fn union<'a>(&self, parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let parts = parts.into_iter();
        let mut positions: Vec<u32> = parts.flat_map(|part| part.eligible.positions()).collect();
        positions.sort_unstable();
        positions.dedup();
        let eligible = View::Listed(positions.into());
        Self { eligible, equal_weights: None, ..self.clone() }
    }

    /// The same candidates with other weights in this view, `None` for those that stay; the
    /// endpoints' own weights don't change. Those that get weight 0 are not eligible any more.
    #[must_use]
    pub fn reweighted(&self, mut weight: impl FnMut(&Candidate) -> Option<u32>) -> Self {
        let mut store = self.store.clone();
        let chunks = Arc::make_mut(&mut store);
        for chunk in chunks.iter_mut() {
            let known = Arc::clone(chunk);
            for (place, candidate) in known.iter().enumerate() {
                let Some(candidate) = candidate else { continue };
                if let Some(weight) = weight(candidate).filter(|&new| new != candidate.weight()) {
                    Arc::make_mut(chunk)[place] = Some(candidate.clone().weighing(weight));
                }
            }
        }
        let all = Self { store, equal_weights: None, ..self.clone() };
        all.filter(|candidate| candidate.weight() > 0)
    }

    /// Divides all candidates, eligible or not, into [parts](Self::part) by a key, in one pass.
    /// Those without a key are in none.
    #[must_use]
    pub fn partition<'a, K: Eq + Hash>(
        &'a self,
        key: impl Fn(&'a Candidate) -> Option<K>,
    ) -> HashMap<K, Self> {
        let mut parts: HashMap<K, [Vec<u32>; 4]> = HashMap::new();
        let whole = self.whole.iter().flat_map(|whole| [&whole.eligible, &whole.everyone]);
        for (list, view) in [&self.eligible, &self.everyone].into_iter().chain(whole).enumerate() {
            for position in (0..view.len()).filter_map(|index| view.position(index)) {
                if let Some(key) = self.at(position).and_then(&key) {
                    parts.entry(key).or_default()[list].push(position as u32);
                }
            }
        }
        let part = |lists: [Vec<u32>; 4]| {
            let [eligible, everyone, of_whole, whole] = lists.map(|list| View::Listed(list.into()));
            let whole = Whole { eligible: of_whole, everyone: whole };
            let whole = self.whole.is_some().then_some(whole);
            Self { eligible, everyone, equal_weights: None, whole, ..self.clone() }
        };
        // A key that only others of the whole have is none of these.
        let parts = parts.into_iter().filter(|(_, lists)| !lists[1].is_empty());
        parts.map(|(key, lists)| (key, part(lists))).collect()
    }

    /// Makes those of everyone eligible for which `admit` holds, whatever their health: what a panic
    /// rule does.
    #[must_use]
    pub fn admit(&self, mut admit: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.listed(&whole.everyone, &mut admit),
            everyone: whole.everyone.clone(),
        });
        let eligible = self.listed(&self.everyone, admit);
        Self { eligible, equal_weights: None, whole, ..self.clone() }
    }

    /// The same eligible ones among all candidates of `all`, with their own weights there: what a
    /// strategy lets requests go to, as the balancer sees it.
    pub(crate) fn restored(&self, all: &Self) -> Self {
        Self { eligible: self.eligible.clone(), equal_weights: None, ..all.clone() }
    }

    /// A candidate that can take the request, if there is one, searched from a random place: one
    /// that the context [accepts](PickContext::accepts), or else one that has room. What a picker
    /// falls back to when its own choice is not accepted. Takes time in proportion to the number of
    /// candidates.
    pub fn fallback(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let start = context.rng().below(self.len());
        self.round_from(start)
            .find(|candidate| context.accepts(candidate))
            .or_else(|| self.round_from(start).find(|candidate| context.has_room(candidate)))
    }

    /// True if any eligible candidate could take a request at once.
    pub(crate) fn any_has_room(&self, rng: &mut Rng) -> bool {
        self.round_from(rng.below(self.len())).any(Candidate::has_room)
    }

    /// True if the request that a pick is for could go to any eligible candidate at once.
    pub(crate) fn any_has_room_for(&self, context: &mut PickContext<'_>) -> bool {
        let start = context.rng().below(self.len());
        self.round_from(start).any(|candidate| context.has_room(candidate))
    }

    fn round_from(&self, start: usize) -> impl Iterator<Item = &Candidate> {
        (start..self.len()).chain(0..start).filter_map(|index| self.get(index))
    }

    /// Whoever is at a position of the store, eligible or not.
    #[inline]
    pub(crate) fn at(&self, position: usize) -> Option<&Candidate> {
        self.store.get(position / CHUNK)?[position % CHUNK].as_ref()
    }

    /// The eligible candidate of the same endpoint as `endpoint_state`, which may be of an earlier snapshot.
    /// Takes time in proportion to the number of candidates only if the endpoint is gone, or was moved
    /// after its attributes changed.
    pub(crate) fn find(&self, endpoint_state: &EndpointState) -> Option<&Candidate> {
        let same = |candidate: &&Candidate| Arc::ptr_eq(candidate.stats(), &endpoint_state.stats);
        let position = endpoint_state.position();
        if let Some(candidate) = self.at(position as usize).filter(same) {
            return self.eligible.contains(position).then_some(candidate);
        }
        let found = self.iter().find(same)?;
        endpoint_state.set_position(found.position() as u32);
        Some(found)
    }

    fn listed(&self, view: &View, mut keep: impl FnMut(&Candidate) -> bool) -> View {
        let positions = (0..view.len()).filter_map(|index| view.position(index));
        let kept = positions.filter(|&position| self.at(position).is_some_and(&mut keep));
        View::Listed(kept.map(|position| position as u32).collect())
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Candidate::name)).finish()
    }
}
