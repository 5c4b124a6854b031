use std::{
    fmt,
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

/// Credentials, kept as long as they are good and fetched by one request for all.
#[derive(Debug)]
pub(super) struct Keys {
    provider: SharedCredentialsProvider,
    current: ArcSwapOption<Known>,
    /// Held by who fetches.
    failed: Mutex<Option<Failed>>,
}

#[derive(Debug)]
struct Known {
    credentials: Credentials,
    fresh_until: SystemTime,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    why: Arc<CredentialsError>,
}

/// So long before they expire others are fetched: a request takes a while to arrive.
const BUFFER: Duration = Duration::from_secs(10);
/// How long those are kept that say nothing of when they expire.
const KEPT: Duration = Duration::from_secs(900);
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failure, so long others are not asked for if those known are good still.
const USED_ON: Duration = Duration::from_secs(5);
/// And so long if none are known.
const FAILED_FOR: Duration = Duration::from_secs(1);

impl Keys {
    pub(super) fn new(provider: impl ProvideCredentials + 'static) -> Self {
        Self {
            provider: SharedCredentialsProvider::new(provider),
            current: ArcSwapOption::empty(),
            failed: Mutex::new(None),
        }
    }

    pub(super) fn get(self: &Arc<Self>) -> Getting {
        match self.fresh(SystemTime::now()) {
            Some(credentials) => Getting::Got(credentials),
            None => Getting::Fetching(Box::pin(Arc::clone(self).fetch())),
        }
    }

    fn fresh(&self, now: SystemTime) -> Option<Credentials> {
        let known = self.current.load();
        let known = known.as_ref().filter(|known| now < known.fresh_until)?;
        Some(known.credentials.clone())
    }

    /// Those known, if they have not expired.
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
        let asked = Instant::now();
        let mut failed = match self.failed.try_lock() {
            Ok(failed) => failed,
            // While others are fetched, those known will do.
            Err(_) => match self.usable(SystemTime::now()) {
                Some(credentials) => return Ok(credentials),
                None => self.failed.lock().await,
            },
        };
        if let Some(credentials) = self.fresh(SystemTime::now()) {
            return Ok(credentials);
        }
        // Who has waited for a fetch that failed is not to wait for another, nor is who comes right after it.
        if let Some(Failed { at, why }) = &*failed {
            if asked < *at || at.elapsed() < FAILED_FOR {
                let why = Arc::clone(why);
                return self.usable(SystemTime::now()).ok_or(SignError::Credentials(why));
            }
        }
        let answer = timeout(PROVIDER_TIMEOUT, self.provider.provide_credentials()).await;
        let answer =
            answer.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(PROVIDER_TIMEOUT)));
        match answer {
            Ok(credentials) => {
                let expiry = credentials.expiry().and_then(|expiry| expiry.checked_sub(BUFFER));
                self.keep(&credentials, expiry.unwrap_or_else(|| SystemTime::now() + KEPT));
                Ok(credentials)
            }
            Err(why) => {
                let why = Arc::new(why);
                *failed = Some(Failed { at: Instant::now(), why: Arc::clone(&why) });
                let now = SystemTime::now();
                let usable = self.usable(now);
                if let Some(credentials) = &usable {
                    tracing::warn!(error = %EscapedChain(&*why), "no new credentials: the last are used on");
                    self.keep(credentials, now + USED_ON);
                }
                usable.ok_or(SignError::Credentials(why))
            }
        }
    }
}

/// Credentials, or the wait for them.
pub(super) enum Getting {
    Got(Credentials),
    Fetching(BoxFuture<'static, Result<Credentials, SignError>>),
}

impl Getting {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Credentials, SignError>> {
        match self {
            Self::Got(credentials) => Poll::Ready(Ok(credentials.clone())),
            Self::Fetching(fetching) => Pin::new(fetching).poll(cx),
        }
    }
}

impl fmt::Debug for Getting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Got(_) => "Got",
            Self::Fetching(_) => "Fetching",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::provider::future;
    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    /// Takes a second; fails when told to; its credentials expire after so long.
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
                    true => Err(CredentialsError::not_loaded("as told")),
                    false => Ok(Credentials::new(format!("{asked}"), "s", None, expiry, "test")),
                }
            })
        }
    }

    async fn get(keys: &Arc<Keys>) -> Result<String, SignError> {
        let mut getting = keys.get();
        let credentials = std::future::poll_fn(|cx| getting.poll(cx)).await?;
        Ok(credentials.access_key_id().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_fetched_once_for_all_and_kept() {
        let provider = Provider::default();
        let keys = Arc::new(Keys::new(provider.clone()));
        let all = join_all((0..100).map(|_| get(&keys))).await;
        assert!(all.into_iter().all(|id| id.unwrap() == "1"));
        assert_eq!(get(&keys).await.unwrap(), "1");
        assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
        assert!(keys.fresh(SystemTime::now() + KEPT).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_fetched_again_before_they_expire_and_used_until_then() {
        let provider = Provider { expire_after: Some(BUFFER / 2), ..Provider::default() };
        let keys = Arc::new(Keys::new(provider.clone()));
        assert_eq!(get(&keys).await.unwrap(), "1");
        assert_eq!(get(&keys).await.unwrap(), "2", "too near the end");
        provider.fails.store(1, Ordering::Relaxed);
        assert_eq!(get(&keys).await.unwrap(), "2", "no others are to be had");
        let asked = Instant::now();
        assert_eq!(get(&keys).await.unwrap(), "2");
        assert_eq!(asked.elapsed(), Duration::ZERO, "nobody waits for another failure");
        assert_eq!(provider.asked.load(Ordering::Relaxed), 3);
        let known = keys.current.load_full().unwrap();
        assert!(known.fresh_until <= known.credentials.expiry().unwrap());
        assert!(keys.usable(SystemTime::now() + BUFFER).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn while_others_are_fetched_those_known_are_used() {
        let provider = Provider { expire_after: Some(BUFFER / 2), ..Provider::default() };
        let keys = Arc::new(Keys::new(provider.clone()));
        assert_eq!(get(&keys).await.unwrap(), "1");
        let begun = Instant::now();
        let (first, others) =
            tokio::join!(get(&keys), async { (get(&keys).await, begun.elapsed()) });
        assert_eq!(first.unwrap(), "2");
        assert_eq!((others.0.unwrap().as_str(), others.1), ("1", Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_for_a_failure_has_it_and_a_second_later_it_is_tried_again() {
        let provider = Provider { fails: Arc::new(AtomicU32::new(1)), ..Provider::default() };
        let keys = Arc::new(Keys::new(provider.clone()));
        let all = join_all((0..100).map(|_| get(&keys))).await;
        assert!(all.iter().all(|id| matches!(id, Err(SignError::Credentials(_)))));
        assert!(get(&keys).await.is_err());
        assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
        sleep(FAILED_FOR).await;
        assert_eq!(get(&keys).await.unwrap(), "2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_is_given_up() {
        let keys = Arc::new(Keys::new(Provider { hangs: true, ..Provider::default() }));
        let begun = Instant::now();
        assert!(join_all((0..10).map(|_| get(&keys))).await.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), PROVIDER_TIMEOUT);
        sleep(FAILED_FOR).await;
        // One that is cancelled leaves nobody waiting.
        assert!(timeout(Duration::from_secs(1), get(&keys)).await.is_err());
        assert!(get(&keys).await.is_err());
    }
}
