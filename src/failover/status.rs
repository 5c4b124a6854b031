use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{escape::Escaped, named::Episode, retry::FailureReason};

counts! {
    /// Counts the requests that were sent to a fallback, by what was wrong with the primary. The
    /// first six are failures of the primary, as its [`RetryPolicy`](crate::retry::RetryPolicy)
    /// decides; before the others, no endpoint of the primary has seen the request.
    pub struct FailoverCounts, FailoverCounters by FailoverReason {
        /// Connecting, sending or receiving failed.
        transport: Transport,
        /// There was no response within a time limit.
        timeout: Timeout,
        /// The primary responded that it has too much to do.
        overload: Overload,
        /// The primary responded that it failed.
        application: Application,
        /// The primary refused the request without processing it.
        refused: Refused,
        /// The request was not sent, or certainly not processed.
        unsent: Unsent,
        /// The primary's balancer had no endpoint for the request.
        unavailable: Unavailable,
        /// All endpoints of the primary had the maximum number of requests in flight, or a limit
        /// rejected the request.
        busy: Busy,
        /// The primary was not ready, under
        /// [`FailoverOn::Overload`](crate::failover::FailoverOn::Overload).
        not_ready: NotReady,
        /// The failover is [sticky](crate::failover::FailoverBuilder::sticky), and the request was
        /// not a probe of the primary, or the primary was not ready for the probe.
        sticky: Sticky,
        /// The primary's `poll_ready` has failed, so it is not used any more.
        gone: Gone,
    }
}

impl From<FailureReason> for FailoverReason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Transport => Self::Transport,
            FailureReason::Timeout => Self::Timeout,
            FailureReason::Overload => Self::Overload,
            FailureReason::Application => Self::Application,
            FailureReason::Refused => Self::Refused,
            FailureReason::Unsent => Self::Unsent,
        }
    }
}

/// The counters of a [`FailoverLayer`](crate::failover::FailoverLayer), over all of its services.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FailoverStatus {
    /// The name of the layer.
    pub name: Arc<str>,
    /// Requests by why they were sent to the fallback, counted when the fallback is called.
    pub failovers: FailoverCounts,
    /// Requests whose failure at the primary went to the caller: [`FailoverOn`] excludes it, the
    /// request may not be sent twice or could not be copied, or the fallback was not ready in time.
    /// Does not count a request that the caller drops while it waits for the fallback.
    ///
    /// [`FailoverOn`]: crate::failover::FailoverOn
    pub stopped: u64,
    /// How often a sticky failover began to send all requests to the fallback.
    pub switches: u64,
    /// How often a sticky failover returned to the primary, because it succeeded.
    pub returns: u64,
}

impl fmt::Display for FailoverStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, failovers, stopped, switches, returns } = self;
        write!(
            f,
            "{}: {} requests sent to the fallback ({failovers}), {stopped} stopped; {switches} \
             switches to the fallback, {returns} returns",
            Escaped(name),
            failovers.total(),
        )
    }
}

/// The atomics behind a [`FailoverStatus`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) failovers: FailoverCounters,
    pub(super) stopped: AtomicU64,
    pub(super) switches: AtomicU64,
    pub(super) returns: AtomicU64,
    /// Limits the events: under load, a primary that fails at times causes many switches.
    pub(super) switching: Episode,
    pub(super) returning: Episode,
}

impl Counters {
    pub(super) fn status(&self, name: &Arc<str>) -> FailoverStatus {
        FailoverStatus {
            name: Arc::clone(name),
            failovers: self.failovers.read(),
            stopped: self.stopped.load(Relaxed),
            returns: self.returns.load(Relaxed),
            switches: self.switches.load(Relaxed),
        }
    }
}
