use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    fmt::Display,
    hash::Hash,
    sync::Arc,
};

use indexmap::IndexSet;

use super::{
    history::{Change, Changes},
    snapshot::EndpointService,
};
use crate::{
    capacity::shrunk,
    discover::Update,
    endpoint::{Attributes, Endpoint, EndpointState, Observation, Slots, WaitQueue},
    escape::Escaped,
    outcome::Meter,
    strategy::{CHUNK, Candidate, Candidates, Chunk},
};

/// The driver's endpoints: updates are applied to them, and snapshots are taken from them.
///
/// Candidates and services are stored in chunks that are shared with the snapshots. A change copies
/// the chunks it touches. The last endpoint takes the position of a removed one.
pub(super) struct EndpointSet<K, S> {
    keys: IndexSet<K>,
    candidates: Vec<Chunk<Candidate>>,
    services: Vec<Chunk<EndpointService<S>>>,
    weights: Weights,
    /// The number of endpoints with a meter that measures latency.
    timed: usize,
    /// The number of endpoints with slots or an allowance of requests.
    limited: usize,
    /// The name of the balancer, if it has one.
    balancer: Option<Arc<str>>,
    changes: Changes,
}

impl<K, S> EndpointSet<K, S>
where
    K: Display + Eq + Hash,
    S: Clone,
{
    pub(super) fn new(balancer: Option<Arc<str>>) -> Self {
        Self {
            keys: IndexSet::new(),
            candidates: Vec::new(),
            services: Vec::new(),
            weights: Weights::default(),
            timed: 0,
            limited: 0,
            balancer,
            changes: Changes::default(),
        }
    }

    /// Returns what has changed since the last call.
    pub(super) fn take_changes(&mut self) -> impl Iterator<Item = Change> + use<K, S> {
        self.changes.take()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns true if the latency of requests must be measured.
    pub(super) fn is_timed(&self) -> bool {
        self.timed > 0
    }

    /// Returns true if some endpoints have slots or an allowance of requests.
    pub(super) fn is_limited(&self) -> bool {
        self.limited > 0
    }

    pub(super) fn candidates(&self) -> Candidates {
        let store = self.candidates.iter().cloned().collect();
        let equal_weights = Some(self.weights.all_equal());
        Candidates::from_store(
            store,
            self.len() as u32,
            self.weights.ineligible == 0,
            equal_weights,
        )
    }

    pub(super) fn services(&self) -> Arc<[Chunk<EndpointService<S>>]> {
        self.services.iter().cloned().collect()
    }

    /// Applies an update and returns whether anything changed. `queue` is where requests wait for
    /// room.
    pub(super) fn apply(
        &mut self,
        update: Update<K, S>,
        queue: &Arc<WaitQueue>,
        mut hooks: impl FnMut() -> EndpointHooks,
    ) -> bool {
        match update {
            Update::Insert(key, endpoint) => {
                self.insert(key, endpoint, queue, &mut hooks);
                true
            }
            Update::Remove(key) => self.remove(&key),
            Update::Reset(endpoints) => {
                let kept: HashSet<&K> = endpoints.iter().map(|(key, _)| key).collect();
                let gone: Vec<usize> = (0..self.len())
                    .rev()
                    .filter(|&position| !kept.contains(&self.keys[position]))
                    .collect();
                drop(kept);
                let mut changed = !gone.is_empty();
                // From the back: a removal moves the last endpoint, which is then one that stays.
                gone.into_iter().for_each(|position| self.remove_at(position));
                // Without it, a set that grows key by key has room for half as many again.
                self.keys.reserve_exact(endpoints.len().saturating_sub(self.len()));
                for (key, endpoint) in endpoints {
                    self.insert(key, endpoint, queue, &mut hooks);
                    changed = true;
                }
                changed
            }
        }
    }

    fn insert(
        &mut self,
        key: K,
        endpoint: Endpoint<S>,
        queue: &Arc<WaitQueue>,
        hooks: &mut impl FnMut() -> EndpointHooks,
    ) {
        if let Some(allowance) = endpoint.allowance() {
            allowance.register(queue);
        }
        let (origin, known) = (endpoint.origin(), self.keys.get_index_of(&key));
        if let Some(position) = known {
            let before = at_mut(&mut self.candidates, position);
            if before.is_some_and(|before| !origin.replaces(before.endpoint_state.origin)) {
                return self.change(position, endpoint);
            }
        }
        let name = endpoint.name().of(&key);
        let (service, attributes, stats, meters) = endpoint.into_parts();
        let EndpointHooks { meter, slots, observation } = hooks();
        let endpoint_state = EndpointState::new(name, attributes, stats, meter, meters, slots)
            .of_origin(origin)
            .observed(observation);
        let endpoint_state = Arc::new(endpoint_state);
        if let Some(position) = known {
            return self.replace(position, service, endpoint_state);
        }
        let weight = endpoint_state.attributes.weight();
        let name = &endpoint_state.name;
        tracing::debug!(
            balancer = self.balancer.as_deref(),
            endpoint = %Escaped(name),
            weight,
            health = %endpoint_state.attributes.health(),
            "endpoint added"
        );
        self.changes.add(|| Change::EndpointAdded { endpoint: Arc::clone(name) });
        self.count_in(&endpoint_state);
        let position = self.len();
        let service = EndpointService::new(service, &endpoint_state.stats);
        push(&mut self.candidates, position, Candidate::new(endpoint_state, position as u32));
        push(&mut self.services, position, service);
        self.keys.insert(key);
    }

    /// Replaces an endpoint whose key has got another target: of the one before, only the position
    /// is left.
    fn replace(&mut self, position: usize, service: S, endpoint_state: Arc<EndpointState>) {
        let name = &endpoint_state.name;
        tracing::debug!(
            balancer = self.balancer.as_deref(),
            endpoint = %Escaped(name),
            "endpoint replaced"
        );
        self.changes.add(|| Change::EndpointRemoved { endpoint: Arc::clone(name) });
        self.changes.add(|| Change::EndpointAdded { endpoint: Arc::clone(name) });
        self.count_in(&endpoint_state);
        if let Some(known) = at_mut(&mut self.services, position) {
            *known = EndpointService::new(service, &endpoint_state.stats);
        }
        if let Some(candidate) = at_mut(&mut self.candidates, position) {
            let next = Candidate::new(endpoint_state, position as u32);
            let before = std::mem::replace(candidate, next);
            self.count_out(&before.endpoint_state);
        }
    }

    /// Changes an endpoint in place: it keeps its name, its stats, its slots and the strategy's
    /// meter.
    fn change(&mut self, position: usize, endpoint: Endpoint<S>) {
        let origin = endpoint.origin();
        let (service, attributes, _, meters) = endpoint.into_parts();
        if let Some(known) = at_mut(&mut self.services, position) {
            known.service = service;
        }
        let Some(candidate) = at_mut(&mut self.candidates, position) else { return };
        let old = Arc::clone(&candidate.endpoint_state);
        if old.origin == origin && old.attributes == attributes && old.has_meters(&meters) {
            return;
        }
        let (from, to) = (old.attributes.health(), attributes.health());
        if from.state() == to.state() && from != to {
            tracing::debug!(
                balancer = self.balancer.as_deref(),
                endpoint = %Escaped(&old.name),
                state = to.state(),
                cause = to.reason().map(|reason| tracing::field::display(Escaped(reason))),
                "the reason of a state changed"
            );
        }
        if from.state() != to.state() {
            let lasted = old.in_state_for();
            tracing::info!(
                balancer = self.balancer.as_deref(),
                endpoint = %Escaped(&old.name),
                from = from.state(),
                to = to.state(),
                cause = to.reason().map(|reason| tracing::field::display(Escaped(reason))),
                ?lasted,
                "health changed"
            );
            self.changes.add(|| Change::Health {
                endpoint: Arc::clone(&old.name),
                from: from.clone(),
                to: to.clone(),
                lasted,
            });
        }
        if !from.is_serving() && to.is_serving() {
            // The stage that readmits an endpoint knows more than its past failures tell.
            old.stats.forgive();
        }
        let endpoint_state = Arc::new(old.with(attributes, meters).of_origin(origin));
        *candidate = Candidate::new(Arc::clone(&endpoint_state), position as u32);
        self.count_in(&endpoint_state);
        self.count_out(&old);
    }

    fn remove(&mut self, key: &K) -> bool {
        let position = self.keys.get_index_of(key);
        if let Some(position) = position {
            self.remove_at(position);
        }
        position.is_some()
    }

    fn remove_at(&mut self, position: usize) {
        let Some(key) = self.keys.swap_remove_index(position) else {
            return;
        };
        tracing::debug!(
            balancer = self.balancer.as_deref(),
            endpoint = %Escaped(&key),
            "endpoint removed"
        );
        let last = self.keys.len();
        if let Some(removed) = swap_remove(&mut self.candidates, position, last) {
            let name = &removed.endpoint_state.name;
            self.changes.add(|| Change::EndpointRemoved { endpoint: Arc::clone(name) });
            self.count_out(&removed.endpoint_state);
        }
        swap_remove(&mut self.services, position, last);
        if let Some(moved) = at_mut(&mut self.candidates, position) {
            moved.set_position(position as u32);
        }
        if let Some(capacity) = shrunk(last, self.keys.capacity()) {
            self.keys.shrink_to(capacity);
            self.candidates.shrink_to(capacity / CHUNK);
            self.services.shrink_to(capacity / CHUNK);
        }
    }

    fn count_in(&mut self, endpoint_state: &EndpointState) {
        self.weights.count_in(&endpoint_state.attributes);
        self.timed += usize::from(endpoint_state.interest.latency);
        self.limited += usize::from(endpoint_state.is_limited());
    }

    fn count_out(&mut self, endpoint_state: &EndpointState) {
        self.weights.count_out(&endpoint_state.attributes);
        self.timed -= usize::from(endpoint_state.interest.latency);
        self.limited -= usize::from(endpoint_state.is_limited());
    }
}

/// Counts the eligible endpoints of each weight, and the ineligible ones.
#[derive(Default)]
struct Weights {
    eligible: BTreeMap<u32, usize>,
    ineligible: usize,
}

impl Weights {
    fn all_equal(&self) -> bool {
        self.eligible.len() <= 1
    }

    fn count_in(&mut self, attributes: &Attributes) {
        if attributes.is_eligible() {
            *self.eligible.entry(attributes.weight()).or_default() += 1;
        } else {
            self.ineligible += 1;
        }
    }

    fn count_out(&mut self, attributes: &Attributes) {
        if !attributes.is_eligible() {
            self.ineligible -= 1;
        } else if let Entry::Occupied(mut count) = self.eligible.entry(attributes.weight()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What a balancer adds to each endpoint that is new to it.
pub(super) struct EndpointHooks {
    pub(super) meter: Option<Arc<dyn Meter>>,
    pub(super) slots: Option<Arc<Slots>>,
    pub(super) observation: Option<Arc<Observation>>,
}

/// Returns the element at `position`, in a chunk that is copied first if a snapshot shares it.
fn at_mut<T: Clone>(chunks: &mut [Chunk<T>], position: usize) -> Option<&mut T> {
    Arc::make_mut(chunks.get_mut(position / CHUNK)?)[position % CHUNK].as_mut()
}

fn push<T: Clone>(chunks: &mut Vec<Chunk<T>>, len: usize, value: T) {
    if len % CHUNK == 0 {
        chunks.push(Arc::new([const { None }; CHUNK]));
    }
    if let Some(chunk) = chunks.last_mut() {
        Arc::make_mut(chunk)[len % CHUNK] = Some(value);
    }
}

/// Removes an element and moves the one at `last` to its position.
fn swap_remove<T: Clone>(chunks: &mut Vec<Chunk<T>>, position: usize, last: usize) -> Option<T> {
    let moved = Arc::make_mut(chunks.last_mut()?)[last % CHUNK].take();
    if last % CHUNK == 0 {
        chunks.pop();
    }
    if position == last {
        return moved;
    }
    std::mem::replace(at_mut(chunks, position)?, moved?).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn bare() -> EndpointHooks {
        EndpointHooks { meter: None, slots: None, observation: None }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, u32),
        Remove(u16),
        Reset(Vec<(u16, u32)>),
        Snapshot,
    }

    fn step() -> impl Strategy<Value = Step> {
        let entry = (0_u16..200, 0_u32..3);
        prop_oneof![
            8 => entry.clone().prop_map(|(key, weight)| Step::Insert(key, weight)),
            6 => (0_u16..200).prop_map(Step::Remove),
            1 => prop::collection::vec(entry, 0..150).prop_map(Step::Reset),
            2 => Just(Step::Snapshot),
        ]
    }

    use proptest::strategy::Strategy;

    proptest! {
        /// After any steps, candidates and services are those of a plain map, at matching
        /// positions. Earlier snapshots don't change, and their endpoints are found again.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..300)) {
            let endpoint = |key: u16, weight| (key, Endpoint::new(key).with_weight(weight));
            let (mut endpoint_set, queue) = (EndpointSet::new(None), Arc::default());
            let mut model = HashMap::new();
            let mut snapshots = Vec::new();
            let mut earlier = endpoint_set.candidates();
            for step in steps {
                match step {
                    Step::Insert(key, weight) => {
                        let (key, endpoint) = endpoint(key, weight);
                        endpoint_set.apply(Update::Insert(key, endpoint), &queue, bare);
                        model.insert(key, weight);
                    }
                    Step::Remove(key) => {
                        let changed = endpoint_set.apply(Update::Remove(key), &queue, bare);
                        prop_assert_eq!(changed, model.remove(&key).is_some());
                    }
                    Step::Reset(set) => {
                        let all = set.iter().map(|&(key, weight)| endpoint(key, weight));
                        endpoint_set.apply(Update::Reset(all.collect()), &queue, bare);
                        model = set.into_iter().collect();
                    }
                    Step::Snapshot => {
                        let now = endpoint_set.candidates();
                        let place = |now: &Candidate| (Arc::as_ptr(now.stats()), now.position());
                        let places: HashMap<_, _> = now.iter().map(place).collect();
                        for candidate in earlier.all() {
                            let found = now.find(&candidate.endpoint_state).map(Candidate::position);
                            let place = places.get(&Arc::as_ptr(candidate.stats()));
                            prop_assert_eq!(found, place.copied());
                        }
                        earlier = now.clone();
                        let seen = contents(&now, &endpoint_set.services());
                        snapshots.push((now, endpoint_set.services(), seen));
                    }
                }
                let candidates = endpoint_set.candidates();
                prop_assert_eq!(&contents(&candidates, &endpoint_set.services()), &model);
                let eligible: Vec<_> = model.values().filter(|&&weight| weight > 0).collect();
                prop_assert_eq!(candidates.len(), eligible.len());
                let equal = eligible.windows(2).all(|pair| pair[0] == pair[1]);
                prop_assert_eq!(candidates.have_equal_weights(), equal);
            }
            for (candidates, services, seen) in snapshots {
                prop_assert_eq!(contents(&candidates, &services), seen);
            }
        }
    }

    fn contents(
        candidates: &Candidates,
        services: &[Chunk<EndpointService<u16>>],
    ) -> HashMap<u16, u32> {
        candidates
            .all()
            .map(|candidate| {
                let position = candidate.position();
                let found = services[position / CHUNK][position % CHUNK].as_ref();
                let service = found.unwrap().service;
                assert_eq!(candidate.name(), service.to_string());
                (service, candidate.weight())
            })
            .collect()
    }
}
