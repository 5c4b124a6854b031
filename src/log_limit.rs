//! Limits on events that could flood a log.

use std::time::Duration;
#[cfg(feature = "http")]
use std::{borrow::Borrow, collections::HashMap, hash::Hash};

use tokio::time::Instant;

#[cfg(feature = "http")]
use crate::sync::{Mutex, lock};

/// Lets one event of a kind pass per minute, and counts those that it suppresses. It belongs where
/// the state of the event's subject is kept, so that one subject doesn't suppress the events of
/// another, and the limit goes when the subject goes.
#[derive(Debug, Default)]
pub(crate) struct LogLimit {
    /// When the next event may pass; `None` before the first.
    next: Option<Instant>,
    suppressed: u64,
}

const PERIOD: Duration = Duration::from_secs(60);

impl LogLimit {
    /// Returns the number of events suppressed since the last one if an event may pass now, and
    /// counts it as suppressed otherwise.
    pub(crate) fn pass(&mut self) -> Option<u64> {
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.next = now.checked_add(PERIOD);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// A [`LogLimit`] for each of many keys, where no state of the keys is kept. At most
/// [`MAX_KEYS`] have one of their own; the others share one. What was suppressed for a key that has
/// been quiet since is not reported.
#[cfg(feature = "http")]
#[derive(Debug)]
pub(crate) struct LogLimits<K> {
    limits: Mutex<Limits<K>>,
}

#[cfg(feature = "http")]
#[derive(Debug)]
struct Limits<K> {
    own: HashMap<K, LogLimit>,
    others: LogLimit,
    /// When quiet keys are next looked for.
    next_search: Option<Instant>,
}

#[cfg(feature = "http")]
const MAX_KEYS: usize = 256;
/// With many failing endpoints, each failure would search all keys.
#[cfg(feature = "http")]
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(feature = "http")]
impl<K> Default for LogLimits<K> {
    fn default() -> Self {
        let (own, others) = (HashMap::new(), LogLimit::default());
        Self { limits: Mutex::new(Limits { own, others, next_search: None }) }
    }
}

#[cfg(feature = "http")]
impl<K: Eq + Hash> LogLimits<K> {
    /// Does the same as [`LogLimit::pass`] for a key.
    pub(crate) fn pass<Q>(&self, key: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Limits { own, others, next_search } = &mut *lock(&self.limits);
        if let Some(limit) = own.get_mut(key) {
            return limit.pass();
        }
        if own.len() >= MAX_KEYS {
            let now = Instant::now();
            if next_search.is_none_or(|next| now >= next) {
                *next_search = now.checked_add(SEARCH_INTERVAL);
                // A key that has been quiet for a minute has nothing to limit.
                own.retain(|_, limit| limit.next.is_some_and(|next| now < next));
            }
            if own.len() >= MAX_KEYS {
                return others.pass();
            }
        }
        own.entry(key.to_owned()).or_default().pass()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_event_passes_per_minute_and_the_others_are_counted() {
        let mut limit = LogLimit::default();
        assert_eq!(limit.pass(), Some(0));
        for _ in 0..1000 {
            assert_eq!(limit.pass(), None);
        }
        advance(PERIOD - Duration::from_millis(1)).await;
        assert_eq!(limit.pass(), None);
        advance(Duration::from_millis(1)).await;
        assert_eq!(limit.pass(), Some(1001));
        assert_eq!(limit.pass(), None);
        advance(PERIOD * 100).await;
        assert_eq!((limit.pass(), limit.pass()), (Some(1), None));
    }

    #[cfg(feature = "http")]
    #[tokio::test(start_paused = true)]
    async fn keys_are_limited_apart_and_their_number_is_bounded() {
        let limits = LogLimits::<String>::default();
        assert_eq!(
            (limits.pass("a"), limits.pass("b"), limits.pass("a")),
            (Some(0), Some(0), None)
        );
        let passed = (0..10_000).filter(|key| limits.pass(&format!("key {key}")).is_some()).count();
        assert_eq!(passed, MAX_KEYS - 2 + 1, "each of its own limit, and one of the shared one");
        assert_eq!(lock(&limits.limits).own.len(), MAX_KEYS);
        advance(PERIOD).await;
        assert_eq!(limits.pass("new"), Some(0));
        assert_eq!(lock(&limits.limits).own.len(), 1);
    }
}
