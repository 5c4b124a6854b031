use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Stream,
    copy::{Direction, Failed},
    relay::TargetState,
    relays::Limits,
    status::EndCause,
    stream::{ClientStream, TargetStream},
};
use crate::outcome::{Attempt, Outcome};

/// A client and a target that are connected: the response of a [`Relay`](super::Relay).
///
/// It is the long part: awaiting it copies bytes in both directions until both sides have closed.
/// The end of one side is passed on to the other, which may go on. A reset is passed on as a reset.
/// A listener awaits it; dropping it closes both connections.
///
/// The attempt of a balancer that tracks with [`UntilClosed`](super::UntilClosed) lasts until then.
#[must_use = "bytes are relayed only while the session is awaited"]
pub struct Session {
    client: ClientStream,
    target: TargetStream,
    /// How often the connections of the target had been ended when this one began.
    terminations: u64,
    // Declared after the streams, so that an attempt ends when its connection is closed.
    open: Open,
}

/// What is counted while a session is open.
struct Open {
    state: Arc<TargetState>,
    attempt: Option<Attempt>,
    cause: EndCause,
    bytes_to_target: u64,
    bytes_to_client: u64,
}

/// How a [`Session`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Bytes of the client that the target was sent.
    pub bytes_to_target: u64,
    /// Bytes of the target that the client was sent.
    pub bytes_to_client: u64,
    /// Whether both sides have closed, and nothing else has ended the connection.
    pub is_regular: bool,
}

impl Session {
    pub(super) fn new(
        client: ClientStream,
        target: TargetStream,
        terminations: u64,
        state: Arc<TargetState>,
    ) -> Self {
        state.shared.counters.open();
        let (bytes_to_target, bytes_to_client) = (0, 0);
        let cause = EndCause::CutOff;
        let open = Open { state, attempt: None, cause, bytes_to_target, bytes_to_client };
        Self { client, target, terminations, open }
    }

    /// Returns the address of the target.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.open.state.address
    }

    /// Keeps the attempt until the session has ended.
    pub(super) fn hold(&mut self, attempt: Attempt) {
        self.open.attempt = Some(attempt);
    }

    async fn relay(self) -> Ended {
        // In this order, so that the sockets are closed before the attempt ends.
        let Self { mut open, terminations, client, mut target } = self;
        let ClientStream { ahead, io: mut client } = client;
        let state = Arc::clone(&open.state);
        let limits = &state.shared.limits;
        let mut terminated = pin!(state.until_terminated(terminations));
        let mut timer = pin!(sleep_until(deadline(Instant::now(), limits.idle)));
        let mut copy = Copy::new(ahead, limits);
        let cause = poll_fn(|cx| {
            if terminated.as_mut().poll(cx).is_ready() {
                return Poll::Ready(EndCause::Terminated);
            }
            let copied = copy.poll(cx, &mut *client, &mut target);
            open.count(&copy);
            if copied.is_ready() {
                return copied;
            }
            copy.poll_idle(cx, timer.as_mut())
        })
        .await;
        match cause {
            EndCause::Closed | EndCause::CutOff => {}
            // A reset is passed on to the other side. The side that has sent it gets no other.
            EndCause::ClientReset
            | EndCause::TargetReset
            | EndCause::Idle
            | EndCause::Terminated => {
                client.reset_on_drop();
                target.reset_on_drop();
            }
        }
        open.cause = cause;
        Ended {
            bytes_to_target: open.bytes_to_target,
            bytes_to_client: open.bytes_to_client,
            is_regular: cause == EndCause::Closed,
        }
    }
}

impl IntoFuture for Session {
    type Output = Ended;
    type IntoFuture = Pin<Box<dyn Future<Output = Ended> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.relay())
    }
}

/// Both directions, and when a byte last moved or a direction last ended.
struct Copy<'a> {
    to_target: Direction,
    to_client: Direction,
    /// The side that does not take bytes any more. What it has sent before is still passed on.
    failed: Option<EndCause>,
    limits: &'a Limits,
    moved: u64,
    last: Instant,
}

impl<'a> Copy<'a> {
    fn new(ahead: Vec<u8>, limits: &'a Limits) -> Self {
        Self {
            to_target: Direction::new(ahead),
            to_client: Direction::new(Vec::new()),
            failed: None,
            limits,
            moved: 0,
            last: Instant::now(),
        }
    }

    /// Copies until both directions are over, and returns why.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut dyn Stream,
        target: &mut TargetStream,
    ) -> Poll<EndCause> {
        if let Poll::Ready(Err(failed)) = self.to_target.poll(cx, client, target) {
            match failed {
                // Many clients close without the end of TLS. The bytes before it are complete
                // records, so the target gets them and a regular end.
                Failed::Reader(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.to_target.end_reader();
                    return self.poll(cx, client, target);
                }
                Failed::Reader(error) => {
                    return Poll::Ready(self.fail(EndCause::ClientReset, &error));
                }
                Failed::Writer(error) => _ = self.fail(EndCause::TargetReset, &error),
            }
        }
        if let Poll::Ready(Err(failed)) = self.to_client.poll(cx, target, client) {
            match failed {
                Failed::Reader(error) => {
                    return Poll::Ready(self.fail(EndCause::TargetReset, &error));
                }
                Failed::Writer(error) => _ = self.fail(EndCause::ClientReset, &error),
            }
        }
        if self.to_target.is_over() && self.to_client.is_over() {
            return Poll::Ready(self.failed.unwrap_or(EndCause::Closed));
        }
        Poll::Pending
    }

    /// Records that a side has failed, and returns the first failure.
    fn fail(&mut self, cause: EndCause, error: &io::Error) -> EndCause {
        tracing::debug!(cause = cause.as_str(), %error, "a relayed connection has failed");
        *self.failed.get_or_insert(cause)
    }

    /// Waits until nothing has moved for the time that applies. That of a half-closed connection
    /// begins when a side has closed, or with a later byte.
    ///
    /// The timer is not moved with each byte. It ends too early then, looks again, and is set to
    /// the deadline of that time.
    fn poll_idle(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<EndCause> {
        let moved = self.to_target.moved() + self.to_client.moved();
        if moved != self.moved {
            self.moved = moved;
            self.last = Instant::now();
        }
        let is_half_closed = self.to_target.is_over() || self.to_client.is_over();
        let limit = if is_half_closed { self.limits.half_closed } else { self.limits.idle };
        let due = deadline(self.last, limit);
        if due < timer.deadline() {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(EndCause::Idle);
            }
            timer.as_mut().reset(due);
        }
    }
}

fn deadline(since: Instant, limit: Duration) -> Instant {
    /// A time beyond the range of the clock is never reached; a year is long enough to look again.
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    since + limit.min(YEAR)
}

impl Open {
    /// Adds to the counters what was copied since the last call.
    fn count(&mut self, copy: &Copy<'_>) {
        let counters = &self.state.shared.counters;
        let add = |known: &mut u64, now: u64, counter: &std::sync::atomic::AtomicU64| {
            if now > *known {
                counter.fetch_add(now - *known, Relaxed);
                *known = now;
            }
        };
        add(&mut self.bytes_to_target, copy.to_target.written(), &counters.bytes_to_targets);
        add(&mut self.bytes_to_client, copy.to_client.written(), &counters.bytes_to_clients);
    }

    /// Returns what the connection says about the target.
    fn outcome(&self) -> Outcome {
        match self.cause {
            EndCause::Closed | EndCause::Idle => Outcome::Success,
            // A server may reset after its response, as one does that has not read everything.
            _ if self.bytes_to_client > 0 => Outcome::Success,
            EndCause::TargetReset => Outcome::TransportFailure,
            EndCause::ClientReset | EndCause::Terminated | EndCause::CutOff => Outcome::Cancelled,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.shared.counters.end(self.cause);
        if let Some(attempt) = self.attempt.take() {
            attempt.finish(self.outcome());
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("target", &self.target()).finish_non_exhaustive()
    }
}
