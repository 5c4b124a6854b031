//! Code that the crate's futures share.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
#[cfg(any(feature = "listener", feature = "tcp"))]
use std::{future::poll_fn, pin::pin, task::Waker};

use pin_project_lite::pin_project;
#[cfg(any(feature = "listener", feature = "tcp"))]
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Panics because the future `name` was polled again after it had returned its output.
///
/// Futures of the standard library and of tower panic too. The alternative, a `Pending` that
/// registers no waker, would make the caller wait indefinitely.
#[cold]
#[track_caller]
#[allow(clippy::panic)]
pub(crate) fn polled_after_completion(name: &str) -> ! {
    panic!("`{name}` polled after completion")
}

/// Waits until `reached` returns true, which `signal` announces. Before `signal` is notified,
/// `reached` has to be true for all that wait.
///
/// A connection polls this whenever it is polled. The signal has a lock that all connections share,
/// so only a poll by another waker reaches it.
#[cfg(any(feature = "listener", feature = "tcp"))]
pub(crate) async fn until(signal: &Notify, reached: impl Fn() -> bool) {
    let mut notified = pin!(signal.notified());
    let mut registered: Option<Waker> = None;
    poll_fn(|cx| {
        if reached() {
            return Poll::Ready(());
        }
        if registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        registered = Some(cx.waker().clone());
        notified.as_mut().poll(cx)
    })
    .await;
}

pin_project! {
    /// A timer that is created by its first poll, so that an operation that is ready at once needs
    /// none.
    #[derive(Debug, Default)]
    pub(crate) struct LazySleep {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl LazySleep {
    /// Polls the timer, which `start` creates if it does not run yet.
    #[inline]
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        start: impl FnOnce() -> Sleep,
    ) -> Poll<()> {
        let mut sleep = self.project().sleep;
        if let Some(running) = sleep.as_mut().as_pin_mut() {
            return running.poll(cx);
        }
        sleep.set(Some(start()));
        // A new timer has to be polled to register the waker; it may already be over.
        sleep.as_pin_mut().map_or(Poll::Ready(()), |started| started.poll(cx))
    }

    /// Stops the timer, so that the next poll starts another.
    pub(crate) fn stop(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }

    /// Returns the time at which the timer ends; `None` if it does not run.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sleep.as_ref().map(Sleep::deadline)
    }
}

#[cfg(all(test, any(feature = "listener", feature = "tcp")))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    };

    use futures::task::{ArcWake, waker};
    use tokio_test::task::spawn;

    use super::*;

    #[test]
    fn what_was_reached_before_the_first_poll_needs_no_signal() {
        let signal = Notify::new();
        assert!(spawn(until(&signal, || true)).poll().is_ready());
    }

    /// The waker that polled last is woken, as for each future.
    #[test]
    fn another_waker_is_registered() {
        struct Count(AtomicUsize);
        impl ArcWake for Count {
            fn wake_by_ref(count: &Arc<Self>) {
                count.0.fetch_add(1, Relaxed);
            }
        }
        let (signal, is_reached) = (Notify::new(), AtomicBool::new(false));
        let mut waiting = pin!(until(&signal, || is_reached.load(Relaxed)));
        let wakers = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
        for count in wakers.iter().chain(&wakers) {
            let waker = waker(Arc::clone(count));
            let mut cx = Context::from_waker(&waker);
            for _ in 0..3 {
                assert!(waiting.as_mut().poll(&mut cx).is_pending());
            }
        }
        is_reached.store(true, Relaxed);
        signal.notify_waiters();
        assert_eq!(wakers.map(|count| count.0.load(Relaxed)), [0, 1]);
    }
}
