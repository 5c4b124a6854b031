use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{sync::Mutex, time::Instant};

use super::http_client::BoxFuture;
use crate::{
    BoxError,
    escape::EscapedChain,
    log_limit::LogLimit,
    sync::{self, lock},
};

/// The pause after a failed fetch while there is nothing to serve from.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A value that is fetched again from time to time, by the requests that need it.
///
/// At most one fetch runs at a time. It belongs to no request: a request that finds the value stale
/// drives it, and if that request is dropped, the next one drives it on. So requests that are
/// cancelled cannot multiply fetches. While a fetch runs, other requests use the last good value.
pub(super) struct Cached<T> {
    current: ArcSwapOption<Version<T>>,
    flight: Mutex<Flight<T>>,
    /// The number of fetches that have ended. A request that has waited for one does not start
    /// another.
    ended: AtomicU64,
    timing: Timing,
    failures_log: sync::Mutex<LogLimit>,
}

/// When a value is fetched again, and for how long it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// The age at which a value is fetched again.
    pub(super) refresh: Duration,
    /// The age up to which a value is used if it cannot be fetched again.
    pub(super) max_age: Duration,
    /// The shortest time between the starts of two fetches while there is a value.
    pub(super) cooldown: Duration,
    /// The time limit of a fetch. One that is older was abandoned by its request.
    pub(super) fetch_timeout: Duration,
}

struct Version<T> {
    value: Arc<T>,
    /// The start of the fetch, so that a slow response does not look new.
    fetched: Instant,
}

struct Flight<T> {
    fetch: Option<BoxFuture<Result<T, BoxError>>>,
    started: Option<Instant>,
    /// The end of the last fetch, if it failed.
    failed: Option<Instant>,
}

impl<T> Cached<T> {
    pub(super) fn new(timing: Timing) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            flight: Mutex::new(Flight { fetch: None, started: None, failed: None }),
            ended: AtomicU64::new(0),
            timing,
            failures_log: sync::Mutex::default(),
        }
    }

    /// Returns the value if it need not be fetched again.
    pub(super) fn fresh(&self) -> Option<Arc<T>> {
        self.younger_than(self.timing.refresh)
    }

    /// Returns the value, which it fetches if it is stale. `None` if no value may be used.
    pub(super) async fn get(
        &self,
        fetch: impl FnOnce() -> BoxFuture<Result<T, BoxError>>,
    ) -> Option<Arc<T>> {
        if let Some(value) = self.fresh() {
            return Some(value);
        }
        let ended = self.ended.load(Ordering::Acquire);
        let mut flight = match self.usable() {
            // The fetch of another request is not waited for if there is a value.
            Some(value) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_) => return Some(value),
            },
            None => self.flight.lock().await,
        };
        if ended == self.ended.load(Ordering::Acquire) {
            let pause = if self.usable().is_some() { self.timing.cooldown } else { RETRY_PAUSE };
            self.drive(&mut flight, pause, fetch).await;
        }
        self.usable()
    }

    /// Returns a value that is newer than `old` if there is one, or if one may be fetched now.
    pub(super) async fn newer_than(
        &self,
        old: &Arc<T>,
        fetch: impl FnOnce() -> BoxFuture<Result<T, BoxError>>,
    ) -> Option<Arc<T>> {
        let is_newer = |value: &Arc<T>| !Arc::ptr_eq(value, old);
        if let Some(value) = self.usable().filter(is_newer) {
            return Some(value);
        }
        let ended = self.ended.load(Ordering::Acquire);
        let mut flight = self.flight.lock().await;
        if ended == self.ended.load(Ordering::Acquire) {
            self.drive(&mut flight, self.timing.cooldown, fetch).await;
        }
        self.usable().filter(is_newer)
    }

    fn usable(&self) -> Option<Arc<T>> {
        self.younger_than(self.timing.max_age)
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        let current = self.current.load();
        let version = current.as_ref().filter(|version| version.fetched.elapsed() < age)?;
        Some(Arc::clone(&version.value))
    }

    /// Drives the fetch to its end. Starts one unless one runs or the last is too recent.
    async fn drive(
        &self,
        flight: &mut Flight<T>,
        pause: Duration,
        fetch: impl FnOnce() -> BoxFuture<Result<T, BoxError>>,
    ) {
        let is_within = |since: Option<Instant>, time| since.is_some_and(|at| at.elapsed() < time);
        let is_running = is_within(flight.started, self.timing.fetch_timeout);
        let running = flight.fetch.take().filter(|_| is_running);
        let fetch = match running {
            Some(fetch) => fetch,
            None if is_within(flight.started, pause) || is_within(flight.failed, pause) => return,
            None => {
                flight.started = Some(Instant::now());
                fetch()
            }
        };
        // It stays in the flight while it is polled, and so outlives this request.
        let fetched = flight.fetch.insert(fetch).as_mut().await;
        flight.fetch = None;
        match fetched {
            Ok(value) => {
                flight.failed = None;
                let fetched = flight.started.unwrap_or_else(Instant::now);
                let version = Version { value: Arc::new(value), fetched };
                self.current.store(Some(Arc::new(version)));
            }
            Err(error) => {
                flight.failed = Some(Instant::now());
                self.log_failure(&*error);
            }
        }
        self.ended.fetch_add(1, Ordering::Release);
    }

    #[cold]
    fn log_failure(&self, error: &(dyn std::error::Error + 'static)) {
        let cause = EscapedChain(error);
        let document = std::any::type_name::<T>().rsplit("::").next();
        if let Some(suppressed) = lock(&self.failures_log).pass() {
            let is_served = self.usable().is_some();
            tracing::warn!(document, error = %cause, is_served, suppressed, "fetch failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::{FutureExt, future::join_all};
    use tokio::time::{advance, sleep};

    use super::*;

    const TIMING: Timing = Timing {
        refresh: Duration::from_secs(600),
        max_age: Duration::from_secs(3600),
        cooldown: Duration::from_secs(30),
        fetch_timeout: Duration::from_secs(5),
    };

    /// A source that counts its fetches, which take one second.
    #[derive(Default)]
    struct Source {
        fetches: Arc<AtomicUsize>,
        fails: bool,
    }

    impl Source {
        fn fetch(&self) -> BoxFuture<Result<usize, BoxError>> {
            let (fetches, fails) = (Arc::clone(&self.fetches), self.fails);
            Box::pin(async move {
                let number = fetches.fetch_add(1, Ordering::Relaxed) + 1;
                sleep(Duration::from_secs(1)).await;
                if fails { Err("down".into()) } else { Ok(number) }
            })
        }

        fn count(&self) -> usize {
            self.fetches.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_serves_all_requests() {
        let (cached, source) = (Cached::new(TIMING), Source::default());
        let values = join_all((0..100).map(|_| cached.get(|| source.fetch()))).await;
        assert!(values.iter().all(|value| value.as_deref() == Some(&1)));
        assert_eq!(source.count(), 1);
        advance(TIMING.refresh - Duration::from_secs(2)).await;
        assert_eq!(cached.fresh().as_deref(), Some(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_value_is_served_while_one_request_fetches() {
        let (cached, source) = (Cached::new(TIMING), Source::default());
        cached.get(|| source.fetch()).await;
        advance(TIMING.refresh).await;
        assert_eq!(cached.fresh(), None);
        let mut first = Box::pin(cached.get(|| source.fetch()));
        assert!(first.as_mut().now_or_never().is_none());
        assert_eq!(cached.get(|| source.fetch()).now_or_never().unwrap().as_deref(), Some(&1));
        assert_eq!(first.await.as_deref(), Some(&2));
        assert_eq!(source.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_value_has_a_maximum_age() {
        let (cached, mut source) = (Cached::new(TIMING), Source::default());
        cached.get(|| source.fetch()).await;
        source.fails = true;
        advance(TIMING.refresh).await;
        assert_eq!(cached.get(|| source.fetch()).await.as_deref(), Some(&1));
        // The failure is not repeated before the cooldown has passed.
        assert_eq!(cached.get(|| source.fetch()).await.as_deref(), Some(&1));
        assert_eq!(source.count(), 2);
        advance(TIMING.max_age).await;
        assert_eq!(cached.get(|| source.fetch()).await, None);
        assert_eq!(source.count(), 3);
        source.fails = false;
        advance(RETRY_PAUSE).await;
        assert_eq!(cached.get(|| source.fetch()).await.as_deref(), Some(&4));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_waited_for_a_failed_fetch_start_no_other() {
        let (cached, source) = (Cached::new(TIMING), Source { fails: true, ..Source::default() });
        let begin = Instant::now();
        let values = join_all((0..100).map(|_| cached.get(|| source.fetch()))).await;
        assert!(values.iter().all(Option::is_none));
        assert_eq!((source.count(), begin.elapsed()), (1, Duration::from_secs(1)));
        assert_eq!(cached.get(|| source.fetch()).now_or_never(), Some(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_request_leaves_its_fetch_to_the_next() {
        let (cached, source) = (Cached::new(TIMING), Source::default());
        for _ in 0..100 {
            let mut request = Box::pin(cached.get(|| source.fetch()));
            assert!(request.as_mut().now_or_never().is_none());
        }
        assert_eq!(source.count(), 1);
        assert_eq!(cached.get(|| source.fetch()).await.as_deref(), Some(&1));
        // One that all requests have abandoned is not taken up again after its time limit.
        advance(TIMING.max_age).await;
        assert!(cached.get(|| source.fetch()).now_or_never().is_none());
        advance(TIMING.fetch_timeout).await;
        assert_eq!(cached.get(|| source.fetch()).await.as_deref(), Some(&3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_value_is_fetched_once_per_cooldown() {
        let (cached, source) = (Cached::new(TIMING), Source::default());
        let first = cached.get(|| source.fetch()).await.unwrap();
        for _ in 0..100 {
            assert_eq!(cached.newer_than(&first, || source.fetch()).await, None);
        }
        assert_eq!(source.count(), 1);
        advance(TIMING.cooldown).await;
        let newer = join_all((0..100).map(|_| cached.newer_than(&first, || source.fetch()))).await;
        assert!(newer.iter().all(|value| value.as_deref() == Some(&2)));
        let second = cached.get(|| source.fetch()).await.unwrap();
        assert_eq!(cached.newer_than(&second, || source.fetch()).await, None);
        assert_eq!(source.count(), 2);
    }
}
