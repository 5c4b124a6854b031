use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::key::Key;

/// Whether a session's requests may go elsewhere while its endpoint is there but busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// They may: if the endpoint is full, this request goes elsewhere and the session stays; if it is
    /// not ready, or the request has been there already, the session moves. The default.
    #[default]
    Preferred,
    /// They may not: they wait for their endpoint while it is full or not ready, and retries go there
    /// too. Only its health, or its removal, ends the session.
    ///
    /// Requests for the same endpoint wait in order of arrival. They delay no request for another
    /// endpoint.
    Strict,
}

/// What becomes of the sessions of an endpoint that is draining, by its health or by weight 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenDraining {
    /// They move, each with its next request. The default.
    #[default]
    Move,
    /// They stay until they end or the endpoint is removed; no new ones begin there. While no other
    /// endpoint is eligible the balancer takes no requests, these included.
    Stay,
}

/// How many keys there may be: each costs an HMAC for a cookie that no endpoint is known by.
pub(super) const MAX_KEYS: usize = 8;

/// The settings, checked.
#[derive(Debug)]
pub(super) struct Config {
    /// At most [`MAX_KEYS`]; the first signs.
    pub(super) keys: Box<[Key]>,
    pub(super) name: String,
    /// What follows the value in a `Set-Cookie`.
    pub(super) attributes: String,
    pub(super) lifetime: Duration,
    /// The cookie of the application that sessions are bound to.
    pub(super) application: Option<String>,
    pub(super) affinity: Affinity,
    pub(super) draining: WhenDraining,
    pub(super) clock: Clock,
}

/// Tells the time of day by the monotonic clock.
#[derive(Debug)]
pub(super) struct Clock {
    /// Milliseconds since the Unix epoch when it was set.
    set_to: u64,
    set_at: Instant,
}

impl Clock {
    /// Set by the system's clock.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { set_to: millis(since), set_at: Instant::now() }
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn read(&self, now: Instant) -> u64 {
        self.set_to.saturating_add(millis(now.saturating_duration_since(self.set_at)))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
