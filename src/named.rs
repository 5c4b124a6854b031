//! What components with a name and a status share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

/// A name that all clones of a component share, and that a setter by value can still change.
pub(crate) struct SharedName(ArcSwap<Arc<str>>);

impl SharedName {
    pub(crate) fn new(name: impl Into<Arc<str>>) -> Self {
        Self(ArcSwap::from_pointee(name.into()))
    }

    pub(crate) fn set(&self, name: Arc<str>) {
        self.0.store(Arc::new(name));
    }

    pub(crate) fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.load())
    }
}

impl fmt::Debug for SharedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Tells the first of many like events, so that a state that lasts is logged once and not for each
/// request.
#[derive(Debug)]
pub(crate) struct Episode {
    created: Instant,
    /// The time of the last event, in nanoseconds since `created`; 0 for none.
    last: AtomicU64,
}

/// An event this long after the last one begins another episode.
const QUIET: Duration = Duration::from_secs(10);

impl Default for Episode {
    fn default() -> Self {
        Self { created: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Episode {
    /// Records an event. Returns true if there was none in the 10 s before.
    pub(crate) fn begins(&self) -> bool {
        let now = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1);
        let last = self.last.fetch_max(now, Relaxed);
        last == 0 || Duration::from_nanos(now.saturating_sub(last)) >= QUIET
    }
}

/// Returns a function that reads the status of a component until the component is dropped.
pub(crate) fn weak_status<T, S>(
    component: &Arc<T>,
    status: fn(&T) -> S,
) -> impl Fn() -> Option<S> + Send + Sync + use<T, S>
where
    T: Send + Sync,
{
    let component = Arc::downgrade(component);
    move || component.upgrade().map(|component| status(&component))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_begins_after_ten_quiet_seconds() {
        let episode = Episode::default();
        assert!(episode.begins());
        for _ in 0..5 {
            advance(Duration::from_secs(9)).await;
            assert!(!episode.begins());
        }
        advance(QUIET).await;
        assert!(episode.begins());
        assert!(!episode.begins());
    }

    #[test]
    fn a_weak_status_ends_with_its_component() {
        let component = Arc::new(7);
        let status = weak_status(&component, |number| *number);
        assert_eq!(status(), Some(7));
        drop(component);
        assert_eq!(status(), None);
    }
}
