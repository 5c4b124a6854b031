use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures::{FutureExt, future::Shared};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{answer::Failure, session::Session};
use crate::{
    auth::http_client::BoxFuture,
    sync::{Mutex, lock},
};

/// How long the result of a refresh serves other requests with the old cookies. A browser sends
/// several at once, responses with new cookies may take long, and a provider that gets a refresh
/// token a second time may end the session.
const KEPT: Duration = Duration::from_secs(10 * 60);
/// The most refreshes that are kept; the oldest is dropped for one more. A session has at most
/// 16 KB, and 2 KB as a rule.
const MAX_KEPT: usize = 4096;
/// The most refreshes of one session that are followed from old cookies to the newest session.
const MAX_FOLLOWED: usize = 64;

type Refresh = Shared<BoxFuture<Result<Session, Failure>>>;
type Key = [u8; 32];

/// The refreshes of the last minutes, so that each session is refreshed once.
#[derive(Default)]
pub(super) struct Refreshes {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    refreshes: HashMap<Key, (Instant, Refresh)>,
    /// The keys by the time at which their refresh was started. A key that was started again
    /// occurs again.
    started: VecDeque<(Instant, Key)>,
}

impl Refreshes {
    /// Returns the refresh of this session of a realm, which `start` begins unless another request
    /// has. All requests that wait for it drive it, so it is not lost if one of them is cancelled.
    ///
    /// The result of a refresh may need one itself, according to `needs_refresh`. Then `start` gets
    /// that result, and not the session of the request, whose refresh token was used.
    pub(super) fn join(
        &self,
        realm: &[u8],
        mut session: Session,
        needs_refresh: impl Fn(&Session) -> bool,
        start: impl FnOnce(Session) -> BoxFuture<Result<Session, Failure>>,
    ) -> Refresh {
        let mut kept = lock(&self.kept);
        kept.drop_old(MAX_KEPT);
        let mut key = key_of(realm, &session);
        for _ in 0..MAX_FOLLOWED {
            let Some((_, refresh)) = kept.refreshes.get(&key) else { break };
            match refresh.peek() {
                Some(Ok(newer)) if needs_refresh(newer) => session = newer.clone(),
                _ => return refresh.clone(),
            }
            // A provider may give the same refresh token again.
            let next = key_of(realm, &session);
            if next == key {
                break;
            }
            key = next;
        }
        let refresh = start(session).shared();
        kept.drop_old(MAX_KEPT - 1);
        let now = Instant::now();
        kept.refreshes.insert(key, (now, refresh.clone()));
        kept.started.push_back((now, key));
        refresh
    }
}

impl Kept {
    /// Drops refreshes that are too old, and the oldest if there are more than `most`.
    fn drop_old(&mut self, most: usize) {
        while let Some(&(started, key)) = self.started.front() {
            if self.started.len() <= most && started.elapsed() < KEPT {
                break;
            }
            self.started.pop_front();
            // One that was started again since then stays.
            if self.refreshes.get(&key).is_some_and(|(last, _)| *last == started) {
                self.refreshes.remove(&key);
            }
        }
    }
}

/// The parts of `realm` have their lengths in front, so it cannot be mistaken for a token.
fn key_of(realm: &[u8], session: &Session) -> Key {
    let refresh_token = session.refresh_token.as_deref().unwrap_or_default();
    Sha256::new_with_prefix(realm).chain_update(refresh_token).finalize().into()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::Map;
    use tokio::time::advance;

    use super::*;

    /// A session that needs a refresh if its access token starts with `old`.
    fn session(access_token: &str, refresh_token: &str) -> Session {
        Session {
            end: 0,
            subject: "a".into(),
            claims: Map::new(),
            access_token: access_token.into(),
            access_end: None,
            refresh_token: Some(refresh_token.into()),
        }
    }

    /// Refreshes, and the refresh tokens that were sent to the provider.
    #[derive(Default)]
    struct Provider {
        refreshes: Refreshes,
        sent: RefCell<Vec<String>>,
    }

    impl Provider {
        /// Joins the refresh of a session; a new one has this result.
        fn join(&self, of: &Session, result: Result<Session, Failure>) -> Refresh {
            let is_old = |session: &Session| session.access_token.starts_with("old");
            self.refreshes.join(b"realm", of.clone(), is_old, |session| {
                self.sent.borrow_mut().push(session.refresh_token.unwrap());
                Box::pin(async move {
                    tokio::task::yield_now().await;
                    result
                })
            })
        }

        async fn token(&self, of: &Session, result: Result<Session, Failure>) -> String {
            self.join(of, result).await.ok().unwrap().access_token
        }

        fn sent(&self) -> Vec<String> {
            self.sent.borrow().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn old_cookies_get_the_result_of_the_one_refresh() {
        let (provider, first) = (Provider::default(), session("old", "1"));
        let other = || Err(Failure::Internal);
        let one = provider.join(&first, Ok(session("new", "2")));
        let two = provider.join(&first, other());
        drop(one);
        assert_eq!(two.await.ok().unwrap().access_token, "new");
        advance(KEPT - Duration::from_secs(1)).await;
        assert_eq!(provider.token(&first, other()).await, "new");
        assert_eq!(provider.sent(), ["1"]);
        advance(Duration::from_secs(1)).await;
        assert_eq!(provider.token(&first, Ok(session("newer", "3"))).await, "newer");
        assert_eq!(provider.sent(), ["1", "1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refresh_token_is_not_used_twice_when_tokens_are_short_lived() {
        let (provider, first) = (Provider::default(), session("old", "1"));
        assert_eq!(provider.token(&first, Ok(session("old-2", "2"))).await, "old-2");
        // The first cookies come again after the second token has expired.
        assert_eq!(provider.token(&first, Ok(session("old-3", "3"))).await, "old-3");
        assert_eq!(provider.token(&first, Ok(session("new", "4"))).await, "new");
        assert_eq!(provider.token(&first, Err(Failure::Internal)).await, "new");
        let second = session("old-2", "2");
        assert_eq!(provider.token(&second, Err(Failure::Internal)).await, "new");
        assert_eq!(provider.sent(), ["1", "2", "3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_may_keep_the_refresh_token() {
        let (provider, first) = (Provider::default(), session("old", "1"));
        assert_eq!(provider.token(&first, Ok(session("old-2", "1"))).await, "old-2");
        assert_eq!(provider.token(&first, Ok(session("new", "1"))).await, "new");
        assert_eq!(provider.token(&first, Err(Failure::Internal)).await, "new");
        assert_eq!(provider.sent(), ["1", "1"]);
        // The key was started twice: its first time does not drop the second refresh.
        advance(KEPT / 2).await;
        assert_eq!(provider.token(&session("old", "x"), Ok(session("y", "y"))).await, "y");
        assert_eq!(provider.token(&first, Err(Failure::Internal)).await, "new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_denied_session_is_not_asked_for_again() {
        let (provider, first) = (Provider::default(), session("old", "1"));
        let denied = || Err(Failure::Denied("x".into()));
        for _ in 0..3 {
            assert!(provider.join(&first, denied()).await.is_err());
        }
        assert_eq!(provider.sent().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_kept_refreshes_is_bounded() {
        let provider = Provider::default();
        let of = |number: usize| session("old", &number.to_string());
        for number in 0..=MAX_KEPT {
            provider.token(&of(number), Ok(session("new", "n"))).await;
        }
        let kept = || lock(&provider.refreshes.kept).refreshes.len();
        assert_eq!(kept(), MAX_KEPT);
        provider.token(&of(MAX_KEPT), Err(Failure::Internal)).await;
        assert_eq!(provider.sent().len(), MAX_KEPT + 1, "the newest is kept");
        provider.token(&of(0), Ok(session("new", "n"))).await;
        assert_eq!(provider.sent().len(), MAX_KEPT + 2, "the oldest was dropped");
        advance(KEPT).await;
        provider.token(&of(0), Ok(session("new", "n"))).await;
        assert_eq!(kept(), 1);
    }
}
