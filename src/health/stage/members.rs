use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use indexmap::IndexMap;

use super::stage::{Policy, Removal};
use crate::{
    capacity::shrunk,
    discover::Update,
    endpoint::{Endpoint, Origin},
};

/// The number of an endpoint within a stage, in order of arrival. An endpoint that is removed and
/// added again, or whose target is replaced, gets a new number, so that timers, checks in progress
/// and events of the old one do not reach the new one.
pub(crate) type Id = u64;

/// The endpoints of a stage as upstream sent them, each with the state that the policy keeps for
/// it.
#[derive(Debug)]
pub(crate) struct Members<K, T, S> {
    ids: HashMap<K, Id>,
    members: BTreeMap<Id, Member<K, T, S>>,
    next: Id,
    queue: VecDeque<Change<K>>,
}

#[derive(Debug)]
pub(crate) struct Member<K, T, S> {
    pub(crate) key: K,
    /// As upstream sent it, with the statistics of the first version of this target.
    pub(crate) endpoint: Endpoint<T>,
    pub(crate) state: S,
    /// Downstream has the endpoint.
    published: bool,
    /// `queue` has an update of the endpoint.
    queued: bool,
}

/// A change that has yet to be passed on.
#[derive(Debug)]
enum Change<K> {
    Update(Id),
    Remove(K),
}

impl<K, T, S> Members<K, T, S> {
    pub(crate) fn new() -> Self {
        let (ids, members) = (HashMap::new(), BTreeMap::new());
        Self { ids, members, next: 0, queue: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Member<K, T, S>> {
        self.members.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Member<K, T, S>> {
        self.members.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Member<K, T, S>)> {
        self.members.iter().map(|(&id, member)| (id, member))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Member<K, T, S>)> {
        self.members.iter_mut().map(|(&id, member)| (id, member))
    }

    /// Queues an update of an endpoint whose state has changed.
    pub(crate) fn queue_update(&mut self, id: Id) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| !member.queued) {
            member.queued = true;
            self.queue.push_back(Change::Update(id));
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl<K: Clone + Eq + Hash, T: Clone + 'static, S> Members<K, T, S> {
    /// Removes an endpoint whose [`Removal`] was deferred.
    pub(crate) fn remove_deferred(&mut self, id: Id) {
        let Some(member) = self.forget(id) else { return };
        if member.published {
            self.queue.push_back(Change::Remove(member.key));
        }
    }

    /// Returns the next queued change.
    pub(crate) fn next_change<P: Policy<K, T, S>>(&mut self, policy: &P) -> Option<Update<K, T>> {
        loop {
            match self.queue.pop_front()? {
                Change::Remove(key) => return Some(Update::Remove(key)),
                Change::Update(id) => {
                    let Some(member) = self.members.get_mut(&id) else { continue };
                    member.queued = false;
                    if let Some(update) = member.update(policy) {
                        return Some(update);
                    }
                }
            }
        }
    }

    /// Applies a change from upstream and returns the change for downstream, if there is one.
    pub(crate) fn apply<P>(&mut self, update: Update<K, T>, policy: &mut P) -> Option<Update<K, T>>
    where
        P: Policy<K, T, S>,
    {
        match update {
            Update::Insert(key, endpoint) => {
                let id = self.insert(key, endpoint, 1, policy);
                self.members.get_mut(&id)?.update(policy)
            }
            Update::Remove(key) => {
                let id = *self.ids.get(&key)?;
                self.remove(id, policy)
            }
            Update::Reset(endpoints) => {
                // Of endpoints with the same key, the last counts. Applied one after the other,
                // they would replace each other with each update.
                let endpoints: IndexMap<K, Endpoint<T>> = endpoints.into_iter().collect();
                let arrivals = endpoints.len();
                let mut missing: BTreeSet<Id> = self.members.keys().copied().collect();
                for (key, endpoint) in endpoints {
                    missing.remove(&self.insert(key, endpoint, arrivals, policy));
                }
                for id in missing {
                    self.remove(id, policy);
                }
                // Includes endpoints whose removal is deferred.
                let all = self.members.values_mut().filter_map(|member| {
                    let endpoint = member.publish(policy);
                    member.published = endpoint.is_some();
                    Some((member.key.clone(), endpoint?))
                });
                Some(Update::Reset(all.collect()))
            }
        }
    }

    /// Adds or changes an endpoint, one of `arrivals` in the same update.
    fn insert<P: Policy<K, T, S>>(
        &mut self,
        key: K,
        endpoint: Endpoint<T>,
        arrivals: usize,
        policy: &mut P,
    ) -> Id {
        match self.ids.entry(key) {
            Entry::Occupied(mut known) => {
                let id = *known.get();
                let Some(member) = self.members.get_mut(&id) else { return id };
                if let Some(endpoint) = replacement(&endpoint, &member.endpoint) {
                    // The one before is not drained, because its key is taken. Its requests finish.
                    let _ = policy.removed(id, member);
                    let (key, published) = (member.key.clone(), member.published);
                    self.members.remove(&id);
                    let id = self.next;
                    known.insert(id);
                    self.add(key, endpoint, published, arrivals, policy);
                    return id;
                }
                // Requests in flight keep counting on the statistics that they started with.
                let stats = Arc::clone(member.endpoint.stats());
                member.endpoint = endpoint.with_stats(stats);
                policy.changed(id, member);
                id
            }
            Entry::Vacant(unknown) => {
                let (id, key) = (self.next, unknown.key().clone());
                unknown.insert(id);
                self.add(key, endpoint, false, arrivals, policy);
                id
            }
        }
    }

    /// Adds an endpoint with the next number.
    fn add<P: Policy<K, T, S>>(
        &mut self,
        key: K,
        endpoint: Endpoint<T>,
        published: bool,
        arrivals: usize,
        policy: &mut P,
    ) {
        let id = self.next;
        self.next += 1;
        let state = policy.added(id, &key, &endpoint, arrivals.max(self.members.len() + 1));
        let member = Member { key, endpoint, state, published, queued: false };
        self.members.insert(id, member);
    }

    fn forget(&mut self, id: Id) -> Option<Member<K, T, S>> {
        let member = self.members.remove(&id)?;
        self.ids.remove(&member.key);
        if let Some(capacity) = shrunk(self.ids.len(), self.ids.capacity()) {
            self.ids.shrink_to(capacity);
            self.queue.shrink_to(capacity);
        }
        Some(member)
    }

    fn remove<P: Policy<K, T, S>>(&mut self, id: Id, policy: &mut P) -> Option<Update<K, T>> {
        let member = self.members.get_mut(&id)?;
        if policy.removed(id, member) == Removal::Deferred {
            return member.update(policy);
        }
        let member = self.forget(id)?;
        member.published.then_some(Update::Remove(member.key))
    }
}

/// Returns the endpoint that starts anew if `now` has another target than `before`, which has the
/// same key.
fn replacement<T: Clone + 'static>(now: &Endpoint<T>, before: &Endpoint<T>) -> Option<Endpoint<T>> {
    if now.origin().replaces(before.origin()) {
        return Some(now.clone());
    }
    // This is the first stage that can compare the targets.
    let is_other =
        now.origin() != before.origin() && is_other_address(now.target(), before.target());
    is_other.then(|| now.clone().with_origin(Origin::another()))
}

/// Returns true if the targets are addresses of a common type, and differ. Services and other types
/// can't be compared here.
fn is_other_address(now: &dyn Any, before: &dyn Any) -> bool {
    fn differ<A: PartialEq + 'static>(now: &dyn Any, before: &dyn Any) -> bool {
        now.downcast_ref::<A>()
            .zip(before.downcast_ref())
            .is_some_and(|(now, before)| now != before)
    }
    let types = [
        differ::<SocketAddr>,
        differ::<IpAddr>,
        differ::<String>,
        differ::<&'static str>,
        differ::<Arc<str>>,
        differ::<Box<str>>,
        differ::<(String, u16)>,
        differ::<(IpAddr, u16)>,
        differ::<PathBuf>,
        #[cfg(feature = "http")]
        differ::<http::Uri>,
        // Numbers identify endpoints in simulations and tests.
        differ::<u16>,
        differ::<u32>,
        differ::<u64>,
        differ::<usize>,
        differ::<i32>,
    ];
    types.iter().any(|differ| differ(now, before))
}

impl<K: Clone, T: Clone, S> Member<K, T, S> {
    fn publish<P: Policy<K, T, S>>(&self, policy: &P) -> Option<Endpoint<T>> {
        policy.publish(self.endpoint.clone(), &self.state)
    }

    fn update<P: Policy<K, T, S>>(&mut self, policy: &P) -> Option<Update<K, T>> {
        let published = self.published;
        let endpoint = self.publish(policy);
        self.published = endpoint.is_some();
        match endpoint {
            Some(endpoint) => Some(Update::Insert(self.key.clone(), endpoint)),
            None => published.then(|| Update::Remove(self.key.clone())),
        }
    }
}
