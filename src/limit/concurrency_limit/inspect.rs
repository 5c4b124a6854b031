use tokio::time::Instant;

use crate::outcome::{Attempts, Carry};

/// Reads from a request what a [`ConcurrencyLimit`](super::ConcurrencyLimit) needs to know.
///
/// `()` gives all requests the same priority and no deadline.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not read the priority and deadline of `{Req}`",
    note = "pass `()` or `InspectDeadline` to `inspect`, or implement `Inspect<{Req}>` for `{Self}`"
)]
pub trait Inspect<Req> {
    /// Returns the time after which a response is useless. Default: `None`, which means never.
    fn deadline(&self, request: &Req) -> Option<Instant> {
        let _ = request;
        None
    }

    /// Returns the priority of the request. Default: [`Priority::NORMAL`].
    fn priority(&self, request: &Req) -> Priority {
        let _ = request;
        Priority::NORMAL
    }
}

/// All requests are alike.
impl<Req> Inspect<Req> for () {}

/// Reads the deadline from the request's [`Attempts`], where
/// [`OverallTimeout`](crate::timeout::OverallTimeout) puts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct InspectDeadline;

impl<Req: Carry> Inspect<Req> for InspectDeadline {
    fn deadline(&self, request: &Req) -> Option<Instant> {
        request.attempts().and_then(Attempts::deadline)
    }
}

/// The share of a limit that a request may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Accepts requests up to the limit, and queues them above it.
    pub const NORMAL: Self = Self(100);

    /// Rejects requests, without queueing, once `percent` of the limit is in flight. 100 and more
    /// is [`NORMAL`](Self::NORMAL).
    #[must_use]
    pub const fn up_to(percent: u8) -> Self {
        Self(if percent < 100 { percent } else { 100 })
    }

    /// Returns how much of `limit` the priority may fill, at least 1; `None` for all of it.
    pub(super) fn part_of(self, limit: u32) -> Option<u32> {
        let part = u64::from(limit) * u64::from(self.0) / 100;
        (self < Self::NORMAL).then(|| u32::try_from(part).unwrap_or(u32::MAX).max(1))
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}
