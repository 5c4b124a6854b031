use std::time::Duration;

use tokio::time::Instant;

use super::Bound;
use crate::outcome::{Attempts, Carry};

/// How the timeouts differ: what their error says, and whether the request carries the deadline.
#[expect(unnameable_types, reason = "sealed: only the three timeouts implement it")]
pub trait TimeoutKind<Req> {
    /// What the timeout bounds, for its [`Elapsed`](super::Elapsed).
    const BOUND: Bound;

    /// Returns the deadline of a request that is sent now, or `None` if `limit` is to run from the
    /// first poll of its response.
    #[inline]
    fn deadline(request: &mut Req, limit: Duration) -> Option<Instant> {
        let _ = (request, limit);
        None
    }
}

/// The kind of a [`ConnectTimeout`](super::ConnectTimeout).
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "named through `ConnectTimeout`")]
pub struct Connect;

/// The kind of a [`FirstByteTimeout`](super::FirstByteTimeout).
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "named through `FirstByteTimeout`")]
pub struct FirstByte;

/// The kind of an [`OverallTimeout`](super::OverallTimeout).
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "named through `OverallTimeout`")]
pub struct Overall;

impl<Req> TimeoutKind<Req> for Connect {
    const BOUND: Bound = Bound::Connect;
}

impl<Req> TimeoutKind<Req> for FirstByte {
    const BOUND: Bound = Bound::FirstByte;
}

impl<Req: Carry> TimeoutKind<Req> for Overall {
    const BOUND: Bound = Bound::Overall;

    /// Puts the deadline into the request's [`Attempts`], unless they have an earlier one.
    #[inline]
    fn deadline(request: &mut Req, limit: Duration) -> Option<Instant> {
        // A limit too long for the clock is no limit.
        let ours = Instant::now().checked_add(limit);
        match (request.attempts(), ours) {
            (Some(attempts), Some(ours)) => Some(attempts.limit_to(ours)),
            (Some(attempts), None) => attempts.deadline(),
            (None, Some(ours)) => {
                request.carry(Attempts::with_deadline(ours));
                Some(ours)
            }
            (None, None) => None,
        }
    }
}
