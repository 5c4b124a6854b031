use std::{collections::HashMap, time::Duration};

use futures::{FutureExt, future::Shared};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{answer::Failure, session::Session};
use crate::{
    auth::http_client::BoxFuture,
    sync::{Mutex, lock},
};

/// How long the result of a refresh serves other requests of the same session. A browser sends
/// several at once, and providers accept a refresh token only once.
const KEPT: Duration = Duration::from_secs(30);
/// The most refreshes that are kept. One more is not shared.
const MAX_KEPT: usize = 1024;

type Refresh = Shared<BoxFuture<Result<Session, Failure>>>;

/// The refreshes of the last seconds, so that requests of one session share one.
#[derive(Default)]
pub(super) struct Refreshes {
    kept: Mutex<HashMap<[u8; 32], (Instant, Refresh)>>,
}

impl Refreshes {
    /// Returns the refresh by this token, which `start` begins if no other request has. All
    /// requests that wait for it drive it, so it is not lost when one of them is cancelled.
    pub(super) fn join(
        &self,
        refresh_token: &str,
        start: impl FnOnce() -> BoxFuture<Result<Session, Failure>>,
    ) -> Refresh {
        let key: [u8; 32] = Sha256::digest(refresh_token).into();
        let mut kept = lock(&self.kept);
        match kept.get(&key) {
            Some((started, refresh)) if started.elapsed() < KEPT => return refresh.clone(),
            _ => {}
        }
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (started, _)| started.elapsed() < KEPT);
        }
        let refresh = start().shared();
        if kept.len() < MAX_KEPT {
            kept.insert(key, (Instant::now(), refresh.clone()));
        }
        refresh
    }
}
