use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use crate::{future::LazySleep, outcome::Attempts};

/// Waits until `service` is ready for another attempt, while the result of the last attempt is
/// held.
///
/// Ready with false if the service fails or is not ready by `until`: the held result then goes to
/// the caller. Without `until` it waits as long as a new request would.
pub(crate) fn poll_ready_until<S, Req>(
    service: &mut S,
    until: Option<Instant>,
    timer: Pin<&mut LazySleep>,
    cx: &mut Context<'_>,
) -> Poll<bool>
where
    S: Service<Req>,
{
    match (service.poll_ready(cx), until) {
        (Poll::Ready(ready), _) => Poll::Ready(ready.is_ok()),
        (Poll::Pending, Some(until)) => timer.poll(cx, || sleep_until(until)).map(|()| false),
        // The service has registered the waker.
        (Poll::Pending, None) => Poll::Pending,
    }
}

/// Returns true if an attempt that begins now begins before the request's deadline.
pub(crate) fn is_before_deadline(attempts: Option<&Attempts>) -> bool {
    let deadline = attempts.and_then(Attempts::deadline);
    deadline.is_none_or(|deadline| Instant::now() < deadline)
}

/// Returns true if an attempt that begins after `delay` begins before `deadline`.
pub(crate) fn begins_before(delay: Duration, deadline: Instant) -> bool {
    Instant::now().checked_add(delay).is_some_and(|begins| begins < deadline)
}
