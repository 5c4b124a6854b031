use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    sync::Arc,
};

use super::stage::Policy;
use crate::{capacity::shrunk, discover::Update, endpoint::Endpoint};

/// Numbers the endpoints of a stage in order of arrival. One that is removed and comes back gets
/// another, so that what belonged to the old one does not find the new one.
pub(crate) type Id = u64;

/// The endpoints of a stage, as they came, with what the stage knows of each.
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
    /// As it came from upstream, with the vitals it had first.
    pub(crate) endpoint: Endpoint<T>,
    pub(crate) state: S,
    /// Downstream knows it.
    shown: bool,
    queued: bool,
}

/// What has yet to be passed on.
#[derive(Debug)]
enum Change<K> {
    Anew(Id),
    Gone(K),
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

    /// Has an endpoint passed on anew, because its state has changed.
    pub(crate) fn announce(&mut self, id: Id) {
        if let Some(member) = self.members.get_mut(&id).filter(|member| !member.queued) {
            member.queued = true;
            self.queue.push_back(Change::Anew(id));
        }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl<K: Clone + Eq + Hash, T: Clone, S> Members<K, T, S> {
    /// Ends an endpoint that had lingered after its removal.
    pub(crate) fn retire(&mut self, id: Id) {
        let Some(member) = self.forget(id) else { return };
        if member.shown {
            self.queue.push_back(Change::Gone(member.key));
        }
    }

    /// The next change that the stage itself has made.
    pub(crate) fn next_change<P>(&mut self, policy: &P) -> Option<Update<K, T>>
    where
        P: Policy<K, T, S>,
    {
        loop {
            match self.queue.pop_front()? {
                Change::Gone(key) => return Some(Update::Remove(key)),
                Change::Anew(id) => {
                    let Some(member) = self.members.get_mut(&id) else { continue };
                    member.queued = false;
                    if let Some(update) = member.update(policy) {
                        return Some(update);
                    }
                }
            }
        }
    }

    /// Takes note of a change from upstream, and tells what becomes of it.
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
                let together = endpoints.len();
                let mut gone: BTreeMap<Id, ()> = self.members.keys().map(|&id| (id, ())).collect();
                for (key, endpoint) in endpoints {
                    gone.remove(&self.insert(key, endpoint, together, policy));
                }
                for id in gone.into_keys() {
                    self.remove(id, policy);
                }
                let all = self.members.values_mut().filter_map(|member| {
                    let endpoint = member.pass(policy);
                    member.shown = endpoint.is_some();
                    Some((member.key.clone(), endpoint?))
                });
                Some(Update::Reset(all.collect()))
            }
        }
    }

    /// An endpoint that comes with others: how many they are together.
    fn insert<P: Policy<K, T, S>>(
        &mut self,
        key: K,
        endpoint: Endpoint<T>,
        together: usize,
        policy: &mut P,
    ) -> Id {
        match self.ids.entry(key) {
            Entry::Occupied(known) => {
                let id = *known.get();
                if let Some(member) = self.members.get_mut(&id) {
                    let stats = Arc::clone(member.endpoint.stats());
                    member.endpoint = endpoint.with_stats(stats);
                    policy.change(id, member);
                }
                id
            }
            Entry::Vacant(unknown) => {
                let (id, key) = (self.next, unknown.key().clone());
                unknown.insert(id);
                self.next += 1;
                let state = policy.join(id, &endpoint, together.max(self.members.len() + 1));
                let member = Member { key, endpoint, state, shown: false, queued: false };
                self.members.insert(id, member);
                id
            }
        }
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
        if policy.leave(id, member) {
            return member.update(policy);
        }
        let member = self.forget(id)?;
        member.shown.then_some(Update::Remove(member.key))
    }
}

impl<K: Clone, T: Clone, S> Member<K, T, S> {
    fn pass<P: Policy<K, T, S>>(&self, policy: &P) -> Option<Endpoint<T>> {
        policy.pass(self.endpoint.clone(), &self.state)
    }

    fn update<P: Policy<K, T, S>>(&mut self, policy: &P) -> Option<Update<K, T>> {
        let shown = self.shown;
        let endpoint = self.pass(policy);
        self.shown = endpoint.is_some();
        match endpoint {
            Some(endpoint) => Some(Update::Insert(self.key.clone(), endpoint)),
            None => shown.then(|| Update::Remove(self.key.clone())),
        }
    }
}
