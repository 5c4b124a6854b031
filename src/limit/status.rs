use std::{fmt, sync::Arc};

use super::{RejectReason, Rejected};
use crate::{
    escape::Escaped,
    named::{Episode, SharedName},
};

/// The state and the counters of a limit, over all services that share it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitStatus {
    /// The name of the limit.
    pub name: Arc<str>,
    /// What the limit bounds.
    pub kind: LimitKind,
    /// How many requests may be in flight at this moment, or are allowed per second. `None` for an
    /// adaptive throttle.
    pub limit: Option<f64>,
    /// How many requests hold a permit at this moment. `None` unless the limit bounds it.
    pub in_flight: Option<u64>,
    /// How many requests wait at this moment: in the queue, or until the rate allows them.
    pub waiting: u64,
    /// Requests that got a permit, including those that were dropped before they used it. `None`
    /// unless the limit bounds the requests in flight: others would have to count each request for
    /// this alone.
    pub admitted: Option<u64>,
    /// Requests that failed with [`Rejected`], counted when that error is returned. Does not count
    /// requests that were dropped while they waited.
    pub rejected: RejectCounts,
    /// The share of requests that an adaptive throttle rejects at this moment, from 0 to 1. `None`
    /// for other limits.
    pub rejected_share: Option<f64>,
}

/// The kinds of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum LimitKind {
    /// A [`ConcurrencyLimit`](crate::limit::ConcurrencyLimit).
    Concurrency,
    /// A [`RateLimit`](crate::limit::RateLimit).
    Rate,
    /// An [`AdaptiveThrottle`](crate::limit::AdaptiveThrottle).
    AdaptiveThrottle,
}

impl LimitKind {
    /// Returns the kind's name for logs and metrics: `concurrency`, `rate` or `adaptive_throttle`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::AdaptiveThrottle => "adaptive_throttle",
        }
    }
}

counts! {
    /// Counts rejected requests by [`RejectReason`].
    pub struct RejectCounts, RejectCounters by RejectCounter {
        /// [`RejectReason::QueueFull`].
        queue_full: QueueFull,
        /// [`RejectReason::WaitedTooLong`].
        waited_too_long: WaitedTooLong,
        /// [`RejectReason::Outdated`].
        outdated: Outdated,
        /// [`RejectReason::Priority`].
        priority: Priority,
        /// [`RejectReason::Throttled`].
        throttled: Throttled,
        /// [`RejectReason::Rate`].
        rate: Rate,
    }
}

impl fmt::Display for LimitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, limit, in_flight, waiting, admitted, rejected, rejected_share } =
            self;
        write!(f, "{}: ", Escaped(name))?;
        match (kind, limit) {
            (LimitKind::Rate, Some(rate)) => write!(f, "{rate} requests per second")?,
            (_, Some(limit)) => {
                write!(f, "{} of {limit} requests in flight", in_flight.unwrap_or_default())?;
            }
            (_, None) => {
                write!(f, "{:.1} % rejected", rejected_share.unwrap_or_default() * 100.0)?;
            }
        }
        if *kind != LimitKind::AdaptiveThrottle {
            write!(f, ", {waiting} waiting")?;
        }
        if let Some(admitted) = admitted {
            write!(f, "; {admitted} admitted")?;
        }
        write!(f, "; {} rejected ({rejected})", rejected.total())
    }
}

/// Names and counts what a limit rejects.
#[derive(Debug)]
pub(super) struct Rejections {
    name: SharedName,
    counters: RejectCounters,
    episode: Episode,
}

impl Rejections {
    pub(super) fn new(name: impl Into<Arc<str>>) -> Self {
        let name = SharedName::new(name);
        Self { name, counters: RejectCounters::default(), episode: Episode::default() }
    }

    pub(super) fn rename(&self, name: Arc<str>) {
        self.name.set(name);
    }

    /// Counts a rejected request, and returns its error.
    #[cold]
    pub(super) fn reject(&self, reason: RejectReason) -> Rejected {
        let counter = match reason {
            RejectReason::QueueFull { .. } => RejectCounter::QueueFull,
            RejectReason::WaitedTooLong { .. } => RejectCounter::WaitedTooLong,
            RejectReason::Outdated => RejectCounter::Outdated,
            RejectReason::Priority { .. } => RejectCounter::Priority,
            RejectReason::Throttled { .. } => RejectCounter::Throttled,
            RejectReason::Rate { .. } => RejectCounter::Rate,
        };
        self.counters.count(counter);
        let rejected = Rejected::new(self.name.get(), reason);
        if self.episode.begins() {
            tracing::warn!(
                limit = %Escaped(rejected.limit()),
                cause = %reason,
                "a limit has begun to reject requests"
            );
        }
        rejected
    }

    /// Returns the status of a limit that knows no more than its rejections.
    pub(super) fn status(&self, kind: LimitKind) -> LimitStatus {
        LimitStatus {
            name: self.name.get(),
            kind,
            limit: None,
            in_flight: None,
            waiting: 0,
            admitted: None,
            rejected: self.counters.read(),
            rejected_share: None,
        }
    }
}
