use tokio::time::Instant;

use crate::outcome::{Attempts, Carry};

/// What a limit wants to know of a request.
pub trait Inspect<Req> {
    /// When an answer is of no use any more. Default: never.
    fn deadline(&self, request: &Req) -> Option<Instant> {
        let _ = request;
        None
    }

    /// How important the request is. Default: [`Priority::NORMAL`].
    fn priority(&self, request: &Req) -> Priority {
        let _ = request;
        Priority::NORMAL
    }
}

/// All requests are the same.
impl<Req> Inspect<Req> for () {}

/// Reads the deadline from the request's [`Attempts`], where
/// [`OverallTimeout`](crate::timeout::OverallTimeout) puts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried;

impl<Req: Carry> Inspect<Req> for Carried {
    fn deadline(&self, request: &Req) -> Option<Instant> {
        request.attempts().and_then(Attempts::deadline)
    }
}

/// How important a request is: how full it may be for it to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// Accepted up to the limit, and waits for its turn beyond.
    pub const NORMAL: Self = Self(100);

    /// Turned away, without waiting, once that many percent of the limit are under way. From 100 on it
    /// is [`NORMAL`](Self::NORMAL).
    #[must_use]
    pub const fn up_to(percent: u8) -> Self {
        Self(if percent < 100 { percent } else { 100 })
    }

    /// How much of a limit it may fill, at least one place; `None` for all of it.
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
