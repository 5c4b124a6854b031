use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::session_key::SessionKey;

/// Whether the requests of a session may go elsewhere while its endpoint is eligible but busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Affinity {
    /// Requests may go elsewhere. If the endpoint is full, the request goes elsewhere and the
    /// session stays. If the endpoint is not ready, or was already tried for the request, the
    /// session moves. The default.
    #[default]
    Preferred,
    /// Requests wait for their endpoint while it is full or not ready, and retries go there too.
    /// The session moves only by the health of the endpoint or its removal.
    ///
    /// Requests for the same endpoint wait in order of arrival. They do not delay requests for
    /// another endpoint.
    Strict,
}

/// What happens to the sessions of an endpoint that is draining, by its health or by weight 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenDraining {
    /// Each session moves with its next request. The default.
    #[default]
    Move,
    /// Sessions stay until they end or the endpoint is removed, and no new session begins there.
    /// While no other endpoint is eligible, the balancer accepts no request at all.
    Stay,
}

/// The maximum number of keys. A cookie of an unknown endpoint costs one HMAC for each key.
pub(super) const MAX_KEYS: usize = 8;

/// The valid settings.
#[derive(Debug)]
pub(super) struct Config {
    /// From 1 to [`MAX_KEYS`]. The first one signs.
    pub(super) keys: Box<[SessionKey]>,
    pub(super) name: String,
    /// The text after the value in `Set-Cookie`.
    pub(super) attributes: String,
    /// The name of a second cookie with the same value, and its attributes.
    pub(super) copy: Option<(String, String)>,
    pub(super) lifetime: Duration,
    /// Whether a tenth of the lifetime is a reason to issue a cookie.
    pub(super) renewed: bool,
    /// The name of the application cookie that sessions are bound to.
    pub(super) application: Option<String>,
    pub(super) affinity: Affinity,
    pub(super) draining: WhenDraining,
    pub(super) clock: Clock,
}

/// Reads the time of day from the monotonic clock.
#[derive(Debug)]
pub(super) struct Clock {
    /// The time at `set_at`, in milliseconds since the Unix epoch.
    set_to: u64,
    set_at: Instant,
}

impl Clock {
    /// Reads the system clock once.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { set_to: millis(since), set_at: Instant::now() }
    }

    /// Returns the milliseconds from the Unix epoch to `now`.
    pub(super) fn read(&self, now: Instant) -> u64 {
        self.set_to.saturating_add(millis(now.saturating_duration_since(self.set_at)))
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
