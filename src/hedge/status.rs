use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::escape::Escaped;

/// The counters of a [`HedgeLayer`](crate::hedge::HedgeLayer), over all of its services.
///
/// `sent` is the sum of `won`, `lost`, `rejected`, `abandoned` and the hedges in flight.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct HedgeStatus {
    /// The name of the layer.
    pub name: Arc<str>,
    /// Hedges, counted when the service is called a further time for a request.
    pub sent: u64,
    /// Hedges whose result went to the caller.
    pub won: u64,
    /// Hedges that failed, or were cancelled because the result of another attempt went to the
    /// caller.
    pub lost: u64,
    /// Hedges that no endpoint got, because the balancer had no other endpoint for them or a limit
    /// below rejected them. Their payment was returned to the budget.
    pub rejected: u64,
    /// Hedges that were in flight when the caller dropped the request.
    pub abandoned: u64,
    /// Requests that got no further hedge because the balance of the budget was too low.
    pub refused: u64,
    /// How long an attempt may take before a hedge is sent. `None` if requests are never hedged, or
    /// while a quantile is not known. Serialized in seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::seconds::of_any"))]
    pub delay: Option<Duration>,
}

impl fmt::Display for HedgeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sent, won, lost, rejected, abandoned, refused, delay } = self;
        write!(
            f,
            "{}: {sent} hedges sent, {won} won, {lost} lost, {rejected} rejected, {abandoned} \
             abandoned; {refused} refused by the budget; ",
            Escaped(name),
        )?;
        match delay {
            Some(delay) => write!(f, "sent after {delay:?}"),
            None => f.write_str("none is sent at present"),
        }
    }
}

/// The atomics behind a [`HedgeStatus`].
#[derive(Debug, Default)]
pub(super) struct HedgeCounters {
    sent: AtomicU64,
    won: AtomicU64,
    lost: AtomicU64,
    rejected: AtomicU64,
    abandoned: AtomicU64,
    refused: AtomicU64,
}

impl HedgeCounters {
    pub(super) fn status(&self, name: Arc<str>, delay: Option<Duration>) -> HedgeStatus {
        // Ends are read before the beginning, so that no hedge has ended that was not sent.
        let [won, lost, rejected, abandoned, refused, sent] =
            [&self.won, &self.lost, &self.rejected, &self.abandoned, &self.refused, &self.sent]
                .map(|count| count.load(Relaxed));
        HedgeStatus { name, sent, won, lost, rejected, abandoned, refused, delay }
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }
}

/// How a hedge ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum HedgeEnd {
    Won,
    Lost,
    Rejected,
    Abandoned,
}

/// A hedge that was sent. Dropped without another end, it counts as abandoned.
#[derive(Debug)]
pub(super) struct SentHedge {
    counters: Arc<HedgeCounters>,
    end: HedgeEnd,
}

impl SentHedge {
    pub(super) fn new(counters: &Arc<HedgeCounters>) -> Self {
        counters.sent.fetch_add(1, Relaxed);
        Self { counters: Arc::clone(counters), end: HedgeEnd::Abandoned }
    }

    pub(super) fn ends(&mut self, end: HedgeEnd) {
        self.end = end;
    }
}

impl Drop for SentHedge {
    fn drop(&mut self) {
        let counters = &self.counters;
        let count = match self.end {
            HedgeEnd::Won => &counters.won,
            HedgeEnd::Lost => &counters.lost,
            HedgeEnd::Rejected => &counters.rejected,
            HedgeEnd::Abandoned => &counters.abandoned,
        };
        count.fetch_add(1, Relaxed);
    }
}
