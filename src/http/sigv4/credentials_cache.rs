use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use futures::future::BoxFuture;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::SignError;
use crate::escape::EscapedChain;

/// Keeps credentials until shortly before they expire, and fetches them once for all requests.
#[derive(Debug)]
pub(super) struct CredentialsCache {
    provider: SharedCredentialsProvider,
    current: ArcSwapOption<Known>,
    /// The last failure. The request that fetches credentials holds the lock.
    last_failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Known {
    credentials: Credentials,
    fresh_until: SystemTime,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    cause: Arc<CredentialsError>,
}

/// How long before their expiry credentials are replaced, because a request takes time to arrive.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);
/// How long credentials without an expiry are kept.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(900);
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failure, how long valid credentials are used before the provider is asked again.
const RETRY_WHEN_USABLE: Duration = Duration::from_secs(5);
/// After a failure without valid credentials, how long requests fail before the provider is asked
/// again.
const RETRY_WHEN_MISSING: Duration = Duration::from_secs(1);

impl CredentialsCache {
    pub(super) fn new(provider: impl ProvideCredentials + 'static) -> Self {
        Self {
            provider: SharedCredentialsProvider::new(provider),
            current: ArcSwapOption::empty(),
            last_failure: Mutex::new(None),
        }
    }

    pub(super) fn get(self: &Arc<Self>) -> CredentialsFuture {
        match self.fresh(SystemTime::now()) {
            Some(credentials) => CredentialsFuture::Known(credentials),
            None => CredentialsFuture::Fetching(Box::pin(Arc::clone(self).fetch())),
        }
    }

    fn fresh(&self, now: SystemTime) -> Option<Credentials> {
        let known = self.current.load();
        let known = known.as_ref().filter(|known| now < known.fresh_until)?;
        Some(known.credentials.clone())
    }

    /// Returns the known credentials if they have not expired.
    fn usable(&self, now: SystemTime) -> Option<Credentials> {
        let known = self.current.load();
        let known = known.as_ref()?;
        let usable = known.credentials.expiry().is_none_or(|expiry| now < expiry);
        usable.then(|| known.credentials.clone())
    }

    fn keep(&self, credentials: &Credentials, until: SystemTime) {
        let expiry = credentials.expiry().unwrap_or(until);
        let known = Known { credentials: credentials.clone(), fresh_until: until.min(expiry) };
        self.current.store(Some(Arc::new(known)));
    }

    async fn fetch(self: Arc<Self>) -> Result<Credentials, SignError> {
        let started = Instant::now();
        let mut last_failure = match self.last_failure.try_lock() {
            Ok(last_failure) => last_failure,
            // Another request fetches credentials. Valid ones can be used until it has them.
            Err(_) => match self.usable(SystemTime::now()) {
                Some(credentials) => return Ok(credentials),
                None => self.last_failure.lock().await,
            },
        };
        // The request that held the lock may have fetched them.
        if let Some(credentials) = self.fresh(SystemTime::now()) {
            return Ok(credentials);
        }
        // A request that waited for a failed fetch gets that error instead of starting another
        // fetch: otherwise the waiting requests would ask a failing provider one after the other.
        if let Some(Failure { at, cause }) = &*last_failure {
            if started < *at || at.elapsed() < RETRY_WHEN_MISSING {
                let cause = Arc::clone(cause);
                return self.usable(SystemTime::now()).ok_or(SignError::Credentials(cause));
            }
        }
        let fetched = timeout(PROVIDER_TIMEOUT, self.provider.provide_credentials()).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(PROVIDER_TIMEOUT)));
        match fetched {
            Ok(credentials) => {
                let expiry = credentials.expiry();
                let renewal = expiry.and_then(|expiry| expiry.checked_sub(EXPIRY_MARGIN));
                let renewal = renewal.unwrap_or_else(|| SystemTime::now() + DEFAULT_LIFETIME);
                self.keep(&credentials, renewal);
                Ok(credentials)
            }
            Err(cause) => {
                let cause = Arc::new(cause);
                *last_failure = Some(Failure { at: Instant::now(), cause: Arc::clone(&cause) });
                let now = SystemTime::now();
                let usable = self.usable(now);
                if let Some(credentials) = &usable {
                    tracing::warn!(
                        error = %EscapedChain(&*cause),
                        "fetching credentials failed; the known ones are used until they expire"
                    );
                    self.keep(credentials, now + RETRY_WHEN_USABLE);
                }
                usable.ok_or(SignError::Credentials(cause))
            }
        }
    }
}

/// Known credentials, or a future that fetches them.
pub(super) enum CredentialsFuture {
    Known(Credentials),
    Fetching(BoxFuture<'static, Result<Credentials, SignError>>),
}

impl CredentialsFuture {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Credentials, SignError>> {
        match self {
            Self::Known(credentials) => Poll::Ready(Ok(credentials.clone())),
            Self::Fetching(fetching) => Pin::new(fetching).poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::provider::future;
    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    /// Takes 1 s, fails the first `fails` times, and returns credentials that expire after
    /// `expire_after`.
    #[derive(Clone, Debug, Default)]
    struct Provider {
        asked: Arc<AtomicU32>,
        expire_after: Option<Duration>,
        fails: Arc<AtomicU32>,
        hangs: bool,
    }

    impl ProvideCredentials for Provider {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            let expiry = self.expire_after.map(|time| SystemTime::now() + time);
            let take = |left: u32| left.checked_sub(1);
            let fails = self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
            let time = if self.hangs { 1000 } else { 1 };
            future::ProvideCredentials::new(async move {
                sleep(Duration::from_secs(time)).await;
                match fails {
                    true => Err(CredentialsError::not_loaded("test")),
                    false => Ok(Credentials::new(format!("{asked}"), "s", None, expiry, "test")),
                }
            })
        }
    }

    async fn get(cache: &Arc<CredentialsCache>) -> Result<String, SignError> {
        let mut future = cache.get();
        let credentials = std::future::poll_fn(|cx| future.poll(cx)).await?;
        Ok(credentials.access_key_id().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_fetched_once_for_all_requests_and_kept() {
        let provider = Provider::default();
        let cache = Arc::new(CredentialsCache::new(provider.clone()));
        let all = join_all((0..100).map(|_| get(&cache))).await;
        assert!(all.into_iter().all(|id| id.unwrap() == "1"));
        assert_eq!(get(&cache).await.unwrap(), "1");
        assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
        assert!(cache.fresh(SystemTime::now() + DEFAULT_LIFETIME).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_are_replaced_before_they_expire_and_used_until_then() {
        let provider = Provider { expire_after: Some(EXPIRY_MARGIN / 2), ..Provider::default() };
        let cache = Arc::new(CredentialsCache::new(provider.clone()));
        assert_eq!(get(&cache).await.unwrap(), "1");
        assert_eq!(get(&cache).await.unwrap(), "2", "too near to their expiry");
        provider.fails.store(1, Ordering::Relaxed);
        assert_eq!(get(&cache).await.unwrap(), "2", "the provider has failed");
        let asked = Instant::now();
        assert_eq!(get(&cache).await.unwrap(), "2");
        assert_eq!(asked.elapsed(), Duration::ZERO, "no request waits for another failure");
        assert_eq!(provider.asked.load(Ordering::Relaxed), 3);
        let known = cache.current.load_full().unwrap();
        assert!(known.fresh_until <= known.credentials.expiry().unwrap());
        assert!(cache.usable(SystemTime::now() + EXPIRY_MARGIN).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn known_credentials_are_used_while_others_are_fetched() {
        let provider = Provider { expire_after: Some(EXPIRY_MARGIN / 2), ..Provider::default() };
        let cache = Arc::new(CredentialsCache::new(provider.clone()));
        assert_eq!(get(&cache).await.unwrap(), "1");
        let begun = Instant::now();
        let (first, others) =
            tokio::join!(get(&cache), async { (get(&cache).await, begun.elapsed()) });
        assert_eq!(first.unwrap(), "2");
        assert_eq!((others.0.unwrap().as_str(), others.1), ("1", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_shared_and_the_provider_is_asked_again_after_a_second() {
        let provider = Provider { fails: Arc::new(AtomicU32::new(1)), ..Provider::default() };
        let cache = Arc::new(CredentialsCache::new(provider.clone()));
        let all = join_all((0..100).map(|_| get(&cache))).await;
        assert!(all.iter().all(|id| matches!(id, Err(SignError::Credentials(_)))));
        assert!(get(&cache).await.is_err());
        assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
        sleep(RETRY_WHEN_MISSING).await;
        assert_eq!(get(&cache).await.unwrap(), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_times_out() {
        let cache =
            Arc::new(CredentialsCache::new(Provider { hangs: true, ..Provider::default() }));
        let begun = Instant::now();
        assert!(join_all((0..10).map(|_| get(&cache))).await.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), PROVIDER_TIMEOUT);
        sleep(RETRY_WHEN_MISSING).await;
        // A cancelled fetch releases the lock, so that the next request does not wait indefinitely.
        assert!(timeout(Duration::from_secs(1), get(&cache)).await.is_err());
        assert!(get(&cache).await.is_err());
    }
}
