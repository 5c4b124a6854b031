use std::{collections::HashMap, fmt, hash::Hash, ops::Range, sync::Arc};

use tokio::time::Instant;

use super::{Candidate, PickContext, Rng, Strategy};
use crate::endpoint::{Endpoint, EndpointState};

/// The number of candidates in a chunk. A change of one endpoint copies its chunk and shares the
/// others with the previous snapshot.
pub(crate) const CHUNK: usize = 64;

pub(crate) type Chunk<T> = Arc<[Option<T>; CHUNK]>;

/// The endpoints that a strategy builds its picker from.
///
/// [`iter`](Self::iter), [`len`](Self::len) and [`get`](Self::get) see the **eligible** candidates:
/// those that are serving and have a weight above 0. [`all`](Self::all) also sees those that are
/// unhealthy, draining or of weight 0.
///
/// Wrappers derive narrower or wider views for their inner strategies:
///
/// | method | use |
/// |---|---|
/// | [`filter`](Self::filter) | makes fewer candidates eligible |
/// | [`admit`](Self::admit) | makes candidates eligible whatever their health |
/// | [`reweighted`](Self::reweighted) | replaces weights |
/// | [`part`](Self::part), [`partition`](Self::partition) | take parts, such as zones or tiers |
/// | [`union`](Self::union) | makes eligible what is eligible in any of several parts |
///
/// Some rules, such as [`Panic`](super::Panic), count candidates. A wrapper that divides them tells
/// such rules what to count:
///
/// | method | the wrapper says |
/// |---|---|
/// | [`as_part_of`](Self::as_part_of) | parts take over each other's traffic: count the whole |
/// | [`while_others_suffice`](Self::while_others_suffice) | other parts can carry the traffic |
/// | [`confined`](Self::confined) | no other part takes over the traffic of this one |
///
/// A clone is cheap, so that a picker can keep one.
#[derive(Clone)]
pub struct Candidates {
    store: Arc<[Chunk<Candidate>]>,
    eligible: View,
    all: View,
    /// Whether all eligible weights are equal, if that is known without comparing them.
    equal_weights: Option<bool>,
    /// See [`as_part_of`](Self::as_part_of). `None` if these candidates are the whole.
    whole: Option<Whole>,
    /// See [`scope`](Self::scope). `None` if all endpoints of the balancer can take over.
    scope: Option<View>,
    /// See [`others_suffice`](Self::others_suffice).
    others_suffice: bool,
    now: Instant,
}

/// The candidates that a part was taken from, for rules that count them.
#[derive(Clone, Debug)]
struct Whole {
    eligible: View,
    all: View,
}

/// Some of the stored candidates: the first ones, or those at a list of ascending positions.
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

    fn positions(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).filter_map(|index| self.position(index))
    }

    fn len(&self) -> usize {
        match self {
            Self::First(len) => *len as usize,
            Self::Listed(positions) => positions.len(),
        }
    }
}

impl Candidates {
    /// Creates a view of a store, which has `len` candidates. `all_eligible` and `equal_weights`
    /// are about these.
    pub(crate) fn from_store(
        store: Arc<[Chunk<Candidate>]>,
        len: u32,
        all_eligible: bool,
        equal_weights: Option<bool>,
    ) -> Self {
        let candidates = Self {
            store,
            eligible: View::First(len),
            all: View::First(len),
            equal_weights,
            whole: None,
            scope: None,
            others_suffice: false,
            now: Instant::now(),
        };
        if all_eligible {
            return candidates;
        }
        candidates.filter(|candidate| candidate.is_eligible())
    }

    /// Creates candidates from names and endpoints, for using a strategy without a balancer.
    ///
    /// The endpoints' meters come from `strategy`.
    pub fn for_strategy<'a, T: 'a, N: fmt::Display>(
        strategy: &impl Strategy,
        endpoints: impl IntoIterator<Item = (N, &'a Endpoint<T>)>,
    ) -> Self {
        let states = endpoints.into_iter().map(|(name, endpoint)| {
            let (_, attributes, stats, meters) = endpoint.as_ref().into_parts();
            let name = name.to_string().into();
            EndpointState::new(name, attributes, stats, strategy.meter(), meters, None)
        });
        let candidates: Vec<_> = states
            .zip(0..)
            .map(|(endpoint_state, position)| Candidate::new(Arc::new(endpoint_state), position))
            .collect();
        let len = candidates.len() as u32;
        let store = candidates
            .chunks(CHUNK)
            .map(|chunk| Arc::new(std::array::from_fn(|index| chunk.get(index).cloned())))
            .collect();
        Self::from_store(store, len, false, None)
    }

    /// Replaces the time, for using a strategy in the time of a simulation.
    #[must_use]
    pub fn at_time(self, now: Instant) -> Self {
        Self { now, ..self }
    }

    /// Returns the time at which the picker is built. Strategies use it instead of a clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Returns the number of eligible candidates.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.eligible.len()
    }

    /// Returns true if no candidate is eligible.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns true if all eligible candidates have the same weight.
    #[must_use]
    pub fn have_equal_weights(&self) -> bool {
        self.equal_weights.unwrap_or_else(|| {
            let mut weights = self.iter().map(Candidate::weight);
            let first = weights.next();
            weights.all(|weight| Some(weight) == first)
        })
    }

    /// Returns the eligible candidate at `index`, which is below [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Candidate> {
        match &self.eligible {
            // `from_store` gets exactly `len` candidates, so the store ends where the view does.
            View::First(_) => self.at(index),
            View::Listed(positions) => self.at(*positions.get(index)? as usize),
        }
    }

    /// Iterates over the eligible candidates.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Calls `see` with each eligible candidate at `indices`. Faster than [`get`](Self::get) for
    /// each, because it looks up a chunk once.
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

    /// Iterates over all candidates, including those that are unhealthy, draining or of weight 0.
    pub fn all(&self) -> impl Iterator<Item = &Candidate> {
        self.in_view(&self.all)
    }

    /// Iterates over all endpoints that can take over the traffic of these candidates: those of the
    /// balancer, or of the part that these are [confined](Self::confined) to.
    pub fn scope(&self) -> impl Iterator<Item = &Candidate> {
        let balancer =
            self.scope.is_none().then(|| self.store.iter().flat_map(|c| c.iter().flatten()));
        let confined = self.scope.as_ref().map(|scope| self.in_view(scope));
        balancer.into_iter().flatten().chain(confined.into_iter().flatten())
    }

    /// Limits the [scope](Self::scope) to these candidates.
    ///
    /// For a part whose requests do not move to other parts. A rule of an inner strategy then does
    /// not exclude the last endpoint of the part.
    #[must_use]
    pub fn confined(self) -> Self {
        Self { scope: Some(self.all.clone()), ..self }
    }

    /// Iterates over all candidates of the whole that these are [a part of](Self::as_part_of).
    pub(super) fn all_of_whole(&self) -> impl Iterator<Item = &Candidate> {
        self.in_view(self.whole.as_ref().map_or(&self.all, |whole| &whole.all))
    }

    fn in_view<'a>(&'a self, view: &'a View) -> impl Iterator<Item = &'a Candidate> {
        view.positions().filter_map(|position| self.at(position))
    }

    /// Keeps those candidates eligible for which `keep` returns true. [`all`](Self::all) stays.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.filter_view(&whole.eligible, &mut keep),
            all: whole.all.clone(),
        });
        Self { eligible: self.filter_view(&self.eligible, keep), whole, ..self.clone() }
    }

    /// Takes the part of all candidates, eligible or not, for which `belongs` returns true, such as
    /// a tier or a zone.
    #[must_use]
    pub fn part(&self, mut belongs: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.filter_view(&whole.eligible, &mut belongs),
            all: self.filter_view(&whole.all, &mut belongs),
        });
        Self {
            eligible: self.filter_view(&self.eligible, &mut belongs),
            all: self.filter_view(&self.all, belongs),
            equal_weights: None,
            whole,
            ..self.clone()
        }
    }

    /// Divides all candidates, eligible or not, into [parts](Self::part) by a key, in one pass.
    /// Candidates without a key are in no part.
    #[must_use]
    pub fn partition<'a, K: Eq + Hash>(
        &'a self,
        key: impl Fn(&'a Candidate) -> Option<K>,
    ) -> HashMap<K, Self> {
        let mut parts: HashMap<K, [Vec<u32>; 4]> = HashMap::new();
        let whole = self.whole.iter().flat_map(|whole| [&whole.eligible, &whole.all]);
        for (list, view) in [&self.eligible, &self.all].into_iter().chain(whole).enumerate() {
            for position in view.positions() {
                if let Some(key) = self.at(position).and_then(&key) {
                    parts.entry(key).or_default()[list].push(position as u32);
                }
            }
        }
        let part = |lists: [Vec<u32>; 4]| {
            let [eligible, all, eligible_of_whole, all_of_whole] =
                lists.map(|list| View::Listed(list.into()));
            let whole = Whole { eligible: eligible_of_whole, all: all_of_whole };
            let whole = self.whole.is_some().then_some(whole);
            Self { eligible, all, equal_weights: None, whole, ..self.clone() }
        };
        // A key that occurs only in the rest of the whole is no part of these candidates.
        let parts = parts.into_iter().filter(|(_, lists)| !lists[1].is_empty());
        parts.map(|(key, lists)| (key, part(lists))).collect()
    }

    /// Marks these candidates as a part of `whole`, for a wrapper whose parts take over each
    /// other's traffic, as zones do.
    ///
    /// Rules that count candidates, such as [`Panic`](super::Panic), count
    /// [`available`](Self::available) of the whole, so that they come to the same result in all
    /// parts.
    #[must_use]
    pub fn as_part_of(self, whole: &Self) -> Self {
        let itself = || Whole { eligible: whole.eligible.clone(), all: whole.all.clone() };
        Self { whole: Some(whole.whole.clone().unwrap_or_else(itself)), ..self }
    }

    /// Counts the eligible candidates and all candidates for which `counts` returns true, in this
    /// order. Counts the whole if these candidates are [a part of](Self::as_part_of) one.
    #[must_use]
    pub fn available(&self, mut counts: impl FnMut(&Candidate) -> bool) -> (usize, usize) {
        let (eligible, all) = match &self.whole {
            Some(whole) => (&whole.eligible, &whole.all),
            None => (&self.eligible, &self.all),
        };
        let mut count = |view| self.in_view(view).filter(|candidate| counts(candidate)).count();
        (count(eligible), count(all))
    }

    /// Says that endpoints outside of these candidates can take over the traffic of those that are
    /// not eligible. A wrapper that spreads traffic over parts calls it, so that a panic rule
    /// inside does not hold without need.
    #[must_use]
    pub fn while_others_suffice(self, others_suffice: bool) -> Self {
        Self { others_suffice: self.others_suffice || others_suffice, ..self }
    }

    /// Returns true if endpoints outside of these candidates can take over the traffic of those
    /// that are not eligible.
    #[must_use]
    pub fn others_suffice(&self) -> bool {
        self.others_suffice
    }

    /// Makes those candidates eligible that are eligible in any of `parts`, which must be views of
    /// the same candidates.
    #[must_use]
    pub fn union<'a>(&self, parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let parts = parts.into_iter();
        let mut positions: Vec<u32> = parts
            .flat_map(|part| part.eligible.positions())
            .map(|position| position as u32)
            .collect();
        positions.sort_unstable();
        positions.dedup();
        let eligible = View::Listed(positions.into());
        Self { eligible, equal_weights: None, ..self.clone() }
    }

    /// Replaces weights in this view; `None` keeps a weight. The endpoints' own weights stay. A
    /// candidate that gets weight 0 is no longer eligible.
    #[must_use]
    pub fn reweighted(&self, mut weight: impl FnMut(&Candidate) -> Option<u32>) -> Self {
        let mut store = self.store.clone();
        let chunks = Arc::make_mut(&mut store);
        for chunk in chunks.iter_mut() {
            let before = Arc::clone(chunk);
            for (slot, candidate) in before.iter().enumerate() {
                let Some(candidate) = candidate else { continue };
                // Chunks without a change stay shared with the other views.
                if let Some(weight) = weight(candidate).filter(|&new| new != candidate.weight()) {
                    Arc::make_mut(chunk)[slot] = Some(candidate.clone().with_weight(weight));
                }
            }
        }
        let candidates = Self { store, equal_weights: None, ..self.clone() };
        candidates.filter(|candidate| candidate.weight() > 0)
    }

    /// Makes exactly those of [all](Self::all) candidates eligible for which `admit` returns true,
    /// whatever their health, as a panic rule does.
    #[must_use]
    pub fn admit(&self, mut admit: impl FnMut(&Candidate) -> bool) -> Self {
        let whole = self.whole.as_ref().map(|whole| Whole {
            eligible: self.filter_view(&whole.all, &mut admit),
            all: whole.all.clone(),
        });
        let eligible = self.filter_view(&self.all, admit);
        Self { eligible, equal_weights: None, whole, ..self.clone() }
    }

    /// Returns the eligible candidates as a view of `all`, with their own weights: the set that the
    /// balancer uses after wrappers have narrowed and reweighted it.
    pub(crate) fn restored(&self, all: &Self) -> Self {
        Self { eligible: self.eligible.clone(), equal_weights: None, ..all.clone() }
    }

    /// Searches for an [accepted](PickContext::accepts) candidate, or else one that has room,
    /// starting at a random position.
    ///
    /// A picker calls it when its own choice is not accepted. It takes time in proportion to the
    /// number of candidates.
    pub fn fallback(&self, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let start = context.rng().below(self.len());
        self.iter_from(start)
            .find(|candidate| context.accepts(candidate))
            .or_else(|| self.iter_from(start).find(|candidate| context.has_room(candidate)))
    }

    /// Returns true if any eligible candidate has a free slot.
    pub(crate) fn any_has_room(&self, rng: &mut Rng) -> bool {
        // A random start: the first candidates may be full, and a search from there be long.
        self.iter_from(rng.below(self.len())).any(Candidate::has_room)
    }

    /// Returns true if the request of this pick may go to any eligible candidate at once.
    pub(crate) fn any_has_room_for(&self, context: &mut PickContext<'_>) -> bool {
        let start = context.rng().below(self.len());
        self.iter_from(start).any(|candidate| context.has_room(candidate))
    }

    /// Iterates over the eligible candidates from index `start`, and then over those before it.
    fn iter_from(&self, start: usize) -> impl Iterator<Item = &Candidate> {
        (start..self.len()).chain(0..start).filter_map(|index| self.get(index))
    }

    /// Returns true if the candidate at a position of the store is eligible here.
    pub(crate) fn is_eligible_at(&self, position: usize) -> bool {
        u32::try_from(position).is_ok_and(|position| self.eligible.contains(position))
    }

    /// Returns the candidate at a position of the store, eligible or not.
    #[inline]
    pub(crate) fn at(&self, position: usize) -> Option<&Candidate> {
        self.store.get(position / CHUNK)?[position % CHUNK].as_ref()
    }

    /// Returns the eligible candidate of the same endpoint as `endpoint_state`, which may be of an
    /// earlier snapshot.
    ///
    /// It takes time in proportion to the number of candidates only if the endpoint was removed, or
    /// was moved after its attributes changed.
    pub(crate) fn find(&self, endpoint_state: &EndpointState) -> Option<&Candidate> {
        let same = |candidate: &&Candidate| Arc::ptr_eq(candidate.stats(), &endpoint_state.stats);
        let position = endpoint_state.position();
        if let Some(candidate) = self.at(position as usize).filter(same) {
            return self.eligible.contains(position).then_some(candidate);
        }
        let found = self.iter().find(same)?;
        // The next search for the same endpoint takes constant time.
        endpoint_state.set_position(found.position() as u32);
        Some(found)
    }

    fn filter_view(&self, view: &View, mut keep: impl FnMut(&Candidate) -> bool) -> View {
        let kept = view.positions().filter(|&position| self.at(position).is_some_and(&mut keep));
        View::Listed(kept.map(|position| position as u32).collect())
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Candidate::name)).finish()
    }
}
