use std::hash::Hash;

use indexmap::IndexMap;

use crate::{capacity::shrunk, discover::Update, endpoint::Endpoint};

/// The endpoints of a stream by key, in the order in which they were added.
pub(crate) type Known<K, T> = IndexMap<K, Endpoint<T>>;

/// Applies an update; true if anything changed. An endpoint with an equal target keeps its
/// statistics and its origin.
pub(crate) fn apply<K, T>(known: &mut Known<K, T>, update: Update<K, T>) -> bool
where
    K: Eq + Hash,
    T: PartialEq,
{
    match update {
        Update::Insert(key, endpoint) => insert(known, key, endpoint),
        Update::Remove(key) => {
            let changed = known.swap_remove(&key).is_some();
            if let Some(capacity) = shrunk(known.len(), known.capacity()) {
                known.shrink_to(capacity);
            }
            changed
        }
        Update::Reset(endpoints) => {
            let mut before = std::mem::take(known);
            let mut changed = false;
            // Of endpoints with the same key, the last counts.
            for (key, endpoint) in endpoints.into_iter().collect::<IndexMap<_, _>>() {
                if let Some((key, old)) = before.swap_remove_entry(&key) {
                    known.insert(key, old);
                }
                changed |= insert(known, key, endpoint);
            }
            changed || !before.is_empty()
        }
    }
}

fn insert<K, T>(known: &mut Known<K, T>, key: K, endpoint: Endpoint<T>) -> bool
where
    K: Eq + Hash,
    T: PartialEq,
{
    let Some(old) = known.get_mut(&key) else {
        known.insert(key, endpoint);
        return true;
    };
    let changed = endpoint.differs_from(old);
    if changed {
        *old = endpoint.succeeding(old);
    }
    changed
}

/// Returns the whole set as one update.
pub(crate) fn reset<K: Clone, T: Clone>(known: &Known<K, T>) -> Update<K, T> {
    Update::Reset(known.iter().map(|(key, endpoint)| (key.clone(), endpoint.clone())).collect())
}
