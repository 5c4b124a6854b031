use std::{collections::VecDeque, hash::Hash, mem, sync::Arc};

use indexmap::IndexMap;

use super::BroadcastError;
use crate::{
    capacity::shrunk,
    discover::Update,
    endpoint::{Endpoint, EndpointName},
};

/// The least number of changes that the log keeps, if there are fewer endpoints.
const MIN_CHANGES: usize = 64;
/// The largest number of updates that a subscription takes at once.
const BATCH: usize = 64;

/// The set of endpoints, and its latest changes.
///
/// Changes are numbered from 1. A subscription has a [`Cursor`], the number of the last change that
/// it has. The log has the changed keys and not the endpoints, so it takes little memory, and a
/// subscription gets the newest version of an endpoint once.
pub(super) struct ChangeLog<K, T> {
    /// Shared with subscriptions that copy the whole set outside of the lock.
    endpoints: Arc<IndexMap<K, Version<T>>>,
    /// The last of them has the number `last`. There are at most as many as endpoints, because it
    /// is cheaper then to pass on the whole set.
    changes: VecDeque<Change<K>>,
    last: u64,
    /// The number of the last change that removed an endpoint.
    last_removal: u64,
    failures: u64,
    failure: Option<Failure>,
}

/// The newest version of an endpoint.
#[derive(Clone)]
struct Version<T> {
    endpoint: Endpoint<T>,
    /// The change that it came with.
    number: u64,
    /// The last change that may have removed an earlier endpoint under the same key. A subscription
    /// that has not seen that change may still have the earlier endpoint.
    removed_before: u64,
}

/// A change of the endpoint with this key.
enum Change<K> {
    /// Added, or changed in place.
    Changed(K),
    /// Replaced by an endpoint with another target.
    Replaced(K),
    Removed(K),
}

struct Failure {
    error: BroadcastError,
    /// The last change before it.
    after: u64,
}

/// How far a subscription has read.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// The last change that it has; `None` if it lacks the whole set.
    seen: Option<u64>,
    failures: u64,
}

/// What a subscription gets next.
pub(super) enum Missing<K, T> {
    /// At least one change.
    Changes(Update<K, T>, VecDeque<Update<K, T>>),
    All(All<K, T>),
    Error(BroadcastError),
}

/// The whole set, for a subscription that has seen the change `seen`.
pub(super) struct All<K, T> {
    endpoints: Arc<IndexMap<K, Version<T>>>,
    seen: Option<u64>,
}

/// What a change has removed from the log, to be dropped outside of the lock.
pub(super) struct Displaced<K, T> {
    _endpoint: Option<Endpoint<T>>,
    _endpoints: Option<Arc<IndexMap<K, Version<T>>>>,
    _changes: VecDeque<Change<K>>,
    _duplicates: Vec<Version<T>>,
}

impl<K, T> Default for Displaced<K, T> {
    fn default() -> Self {
        Self {
            _endpoint: None,
            _endpoints: None,
            _changes: VecDeque::new(),
            _duplicates: Vec::new(),
        }
    }
}

impl<K, T> ChangeLog<K, T> {
    pub(super) fn new() -> Self {
        Self {
            endpoints: Arc::new(IndexMap::new()),
            changes: VecDeque::new(),
            last: 0,
            last_removal: 0,
            failures: 0,
            failure: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Returns the cursor of a new subscription. It has seen the errors before the last change.
    pub(super) fn cursor(&self) -> Cursor {
        let is_failing = self.failure.as_ref().is_some_and(|failure| failure.after == self.last);
        Cursor {
            // Before the first change there is no set that it could lack.
            seen: (self.last == 0).then_some(0),
            failures: self.failures - u64::from(is_failing),
        }
    }

    /// Records an error of the source, and returns the one before.
    pub(super) fn fail(&mut self, error: BroadcastError) -> Option<BroadcastError> {
        self.failures += 1;
        let before = self.failure.replace(Failure { error, after: self.last });
        before.map(|failure| failure.error)
    }

    /// Returns true if the log has all changes after the one with the number `seen`.
    fn has_changes_after(&self, seen: u64) -> bool {
        self.last - seen <= self.changes.len() as u64
    }
}

impl<K: Clone + Eq + Hash, T: Clone> ChangeLog<K, T> {
    /// Applies an update of the source.
    pub(super) fn apply(&mut self, update: Update<K, T>) -> Displaced<K, T> {
        self.last += 1;
        let mut displaced = Displaced::default();
        match update {
            Update::Insert(key, endpoint) => displaced._endpoint = self.insert(key, endpoint),
            Update::Remove(key) => displaced._endpoint = self.remove(key),
            Update::Reset(all) => {
                let (endpoints, duplicates) = self.reset(all);
                (displaced._endpoints, displaced._duplicates) = (Some(endpoints), duplicates);
                // Earlier changes are part of the set.
                displaced._changes = mem::take(&mut self.changes);
            }
        }
        let surplus = self.changes.len().saturating_sub(self.len().max(MIN_CHANGES));
        displaced._changes.extend(self.changes.drain(..surplus));
        if let Some(capacity) = shrunk(self.changes.len(), self.changes.capacity()) {
            self.changes.shrink_to(capacity);
        }
        displaced
    }

    fn insert(&mut self, key: K, endpoint: Endpoint<T>) -> Option<Endpoint<T>> {
        let (number, removed_before) = (self.last, self.last_removal);
        let endpoints = Arc::make_mut(&mut self.endpoints);
        let Some(known) = endpoints.get_mut(&key) else {
            let endpoint = endpoint.with_name(EndpointName::unset());
            endpoints.insert(key.clone(), Version { endpoint, number, removed_before });
            self.changes.push_back(Change::Changed(key));
            return None;
        };
        let is_another = endpoint.origin().replaces(known.endpoint.origin());
        known.number = number;
        let change = if is_another {
            known.removed_before = number;
            Change::Replaced(key)
        } else {
            Change::Changed(key)
        };
        self.changes.push_back(change);
        let endpoint = endpoint.with_name(known.endpoint.name().clone());
        Some(mem::replace(&mut known.endpoint, endpoint))
    }

    fn remove(&mut self, key: K) -> Option<Endpoint<T>> {
        let endpoints = Arc::make_mut(&mut self.endpoints);
        let removed = endpoints.swap_remove(&key);
        if let Some(capacity) = shrunk(endpoints.len(), endpoints.capacity()) {
            endpoints.shrink_to(capacity);
        }
        if removed.is_some() {
            self.last_removal = self.last;
        }
        // Passed on also if the key is unknown: it says that the source has recovered.
        self.changes.push_back(Change::Removed(key));
        removed.map(|version| version.endpoint)
    }

    /// Replaces the set. Returns the one before, and the endpoints that `all` replaces itself.
    fn reset(
        &mut self,
        all: Vec<(K, Endpoint<T>)>,
    ) -> (Arc<IndexMap<K, Version<T>>>, Vec<Version<T>>) {
        let (number, mut duplicates) = (self.last, Vec::new());
        let before = mem::take(&mut self.endpoints);
        let mut endpoints = IndexMap::with_capacity(all.len());
        for (key, endpoint) in all {
            let known = before.get(&key);
            let name = known.map(|known| known.endpoint.name().clone());
            let endpoint = endpoint.with_name(name.unwrap_or_else(EndpointName::unset));
            let removed_before = match known {
                Some(known) if endpoint.origin().replaces(known.endpoint.origin()) => number,
                Some(known) => known.removed_before,
                None => self.last_removal,
            };
            duplicates.extend(endpoints.insert(key, Version { endpoint, number, removed_before }));
        }
        if before.keys().any(|key| !endpoints.contains_key(key)) {
            self.last_removal = number;
        }
        self.endpoints = Arc::new(endpoints);
        (before, duplicates)
    }

    /// Returns what a subscription gets next, and moves its cursor; `None` if it lacks nothing.
    pub(super) fn advance(&self, cursor: &mut Cursor) -> Option<Missing<K, T>> {
        let failure = self.failure.as_ref().filter(|_| cursor.failures < self.failures);
        let log_from = cursor.seen.filter(|&seen| self.has_changes_after(seen));
        if let Some(failure) = failure {
            let is_due = match log_from {
                Some(seen) => seen >= failure.after,
                // The set contains the changes after the error, which must not seem the latest.
                None => failure.after < self.last,
            };
            if is_due {
                cursor.failures = self.failures;
                return Some(Missing::Error(failure.error.clone()));
            }
        }
        let Some(seen) = log_from else {
            let all = All { endpoints: Arc::clone(&self.endpoints), seen: cursor.seen };
            cursor.seen = Some(self.last);
            return Some(Missing::All(all));
        };
        let until = failure.map_or(self.last, |failure| failure.after);
        let (changes, seen) = self.changes_between(seen, until);
        cursor.seen = Some(seen);
        let mut changes = changes;
        match changes.pop_front() {
            Some(first) => Some(Missing::Changes(first, changes)),
            // All were out of date, up to an error.
            None if seen < self.last => self.advance(cursor),
            None => None,
        }
    }

    /// Returns the updates for the changes after `seen` up to `until`, at most a batch of them, and
    /// the number of the last change.
    fn changes_between(&self, mut seen: u64, until: u64) -> (VecDeque<Update<K, T>>, u64) {
        let mut updates = VecDeque::new();
        let start = self.changes.len() - (self.last - seen) as usize;
        for change in self.changes.range(start..) {
            if seen >= until || updates.len() >= BATCH {
                break;
            }
            seen += 1;
            updates.extend(self.update(change, seen));
        }
        (updates, seen)
    }

    /// Returns the update for a change, or `None` if a later change makes it superfluous.
    fn update(&self, change: &Change<K>, number: u64) -> Option<Update<K, T>> {
        let insert = |key: &K| {
            let version = self.endpoints.get(key)?;
            let is_newest = version.number == number;
            is_newest.then(|| Update::Insert(key.clone(), version.endpoint.clone()))
        };
        match change {
            Change::Changed(key) => insert(key),
            // A later version is not one of the endpoint that was replaced.
            Change::Replaced(key) => insert(key).or_else(|| Some(Update::Remove(key.clone()))),
            Change::Removed(key) => Some(Update::Remove(key.clone())),
        }
    }
}

impl<K: Clone + Eq + Hash, T: Clone> All<K, T> {
    pub(super) fn into_reset(self) -> Update<K, T> {
        let all = self.endpoints.iter().map(|(key, version)| {
            let endpoint = version.endpoint.clone();
            let may_have_another = self.seen.is_some_and(|seen| seen < version.removed_before);
            let origin = endpoint.origin();
            let endpoint =
                if may_have_another { endpoint.with_origin(origin.of_another()) } else { endpoint };
            (key.clone(), endpoint)
        });
        Update::Reset(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{prelude::*, strategy::Strategy};

    use super::*;
    use crate::endpoint::Origin;

    /// The number of the endpoint under its key, which counts removals and replacements, and the
    /// number of its version.
    type Target = (u32, u32);
    type Set = HashMap<u8, Endpoint<Target>>;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, How),
        Remove(u8),
        Reset(Vec<(u8, How)>),
        Fail,
        Subscribe,
        /// Which subscriber reads, and how many updates it takes.
        Read(usize, usize),
    }

    /// How an endpoint with a known key arrives. An unknown key is added.
    #[derive(Clone, Copy, Debug)]
    enum How {
        /// Changed in place, with the origin before.
        Same,
        /// Changed in place, because the targets were not compared.
        Unknown,
        Replaced,
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0_u8..100;
        let how =
            prop_oneof![4 => Just(How::Same), 4 => Just(How::Unknown), 1 => Just(How::Replaced)];
        let endpoint = (key.clone(), how);
        prop_oneof![
            15 => endpoint.clone().prop_map(|(key, how)| Step::Insert(key, how)),
            8 => key.prop_map(Step::Remove),
            1 => prop::collection::vec(endpoint, 0..100).prop_map(Step::Reset),
            1 => Just(Step::Fail),
            1 => Just(Step::Subscribe),
            4 => (0_usize..8, 0_usize..200).prop_map(|(who, updates)| Step::Read(who, updates)),
        ]
    }

    /// The source: numbers endpoints and versions.
    #[derive(Default)]
    struct Source {
        set: Set,
        endpoints: u32,
        versions: u32,
    }

    impl Source {
        fn endpoint(&mut self, key: u8, how: How) -> Endpoint<Target> {
            self.versions += 1;
            let before = self.set.get(&key);
            let number = match (before, how) {
                (Some(before), How::Same | How::Unknown) => before.target().0,
                _ => {
                    self.endpoints += 1;
                    self.endpoints
                }
            };
            let origin = match (before, how) {
                (Some(before), How::Same) => before.origin(),
                (_, How::Replaced) => Origin::another(),
                _ => Origin::unknown(),
            };
            Endpoint::new((number, self.versions)).with_origin(origin)
        }

        fn update(&mut self, step: &Step) -> Option<Update<u8, Target>> {
            let update = match step {
                &Step::Insert(key, how) => Update::Insert(key, self.endpoint(key, how)),
                &Step::Remove(key) => Update::Remove(key),
                Step::Reset(all) => {
                    let all = all.iter().map(|&(key, how)| (key, self.endpoint(key, how)));
                    Update::Reset(all.collect())
                }
                _ => return None,
            };
            match update.clone() {
                Update::Insert(key, endpoint) => _ = self.set.insert(key, endpoint),
                Update::Remove(key) => _ = self.set.remove(&key),
                Update::Reset(all) => self.set = all.into_iter().collect(),
            }
            Some(update)
        }
    }

    /// A subscriber, which keeps the state of an endpoint as a balancer does.
    struct Subscriber {
        cursor: Cursor,
        set: Set,
        is_failing: bool,
    }

    impl Subscriber {
        fn insert(&mut self, key: u8, endpoint: Endpoint<Target>) {
            if let Some(before) = self.set.get(&key) {
                let is_same = before.target().0 == endpoint.target().0;
                let starts_anew = endpoint.origin().replaces(before.origin());
                assert_ne!(is_same, starts_anew, "the state is of another endpoint, or lost");
                assert!(before.target().1 <= endpoint.target().1, "an older version");
            }
            self.set.insert(key, endpoint);
        }

        fn apply(&mut self, update: Update<u8, Target>) {
            match update {
                Update::Insert(key, endpoint) => self.insert(key, endpoint),
                Update::Remove(key) => _ = self.set.remove(&key),
                Update::Reset(all) => {
                    let keys: Vec<_> = all.iter().map(|(key, _)| *key).collect();
                    self.set.retain(|key, _| keys.contains(key));
                    all.into_iter().for_each(|(key, endpoint)| self.insert(key, endpoint));
                }
            }
        }

        /// Takes a batch, and returns the number of its updates.
        fn read(&mut self, log: &ChangeLog<u8, Target>) -> usize {
            let lacks_all = self.cursor.seen.is_none();
            match log.advance(&mut self.cursor) {
                None => 0,
                Some(Missing::Error(_)) => {
                    self.is_failing = true;
                    1
                }
                Some(Missing::All(all)) => {
                    self.is_failing = false;
                    self.apply(all.into_reset());
                    1
                }
                Some(Missing::Changes(first, rest)) => {
                    assert!(!lacks_all, "a newcomer gets the whole set");
                    assert!(rest.len() < BATCH);
                    self.is_failing = false;
                    let count = 1 + rest.len();
                    self.apply(first);
                    rest.into_iter().for_each(|update| self.apply(update));
                    count
                }
            }
        }
    }

    proptest! {
        /// Whenever subscribers come and read, each ends with the set and the state of the source,
        /// keeps the state of an endpoint exactly while it is the same, and the log is bounded.
        #[test]
        fn subscribers_end_with_the_set_of_the_source(
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut source = Source::default();
            let mut log = ChangeLog::new();
            let mut subscribers = Vec::new();
            let mut is_failing = false;
            for step in steps {
                if let Some(update) = source.update(&step) {
                    log.apply(update);
                    is_failing = false;
                }
                match step {
                    Step::Fail => {
                        log.fail(BroadcastError::driver_dropped());
                        is_failing = true;
                    }
                    Step::Subscribe => subscribers.push(Subscriber {
                        cursor: log.cursor(),
                        set: Set::new(),
                        is_failing: false,
                    }),
                    Step::Read(who, updates) if !subscribers.is_empty() => {
                        let who = who % subscribers.len();
                        let mut taken = 0;
                        while taken < updates {
                            match subscribers[who].read(&log) {
                                0 => break,
                                count => taken += count,
                            }
                        }
                    }
                    _ => {}
                }
                prop_assert!(log.changes.len() <= log.len().max(MIN_CHANGES));
            }
            for mut subscriber in subscribers {
                while subscriber.read(&log) > 0 {}
                prop_assert_eq!(&subscriber.set, &source.set);
                prop_assert_eq!(subscriber.is_failing, is_failing);
            }
        }
    }
}
