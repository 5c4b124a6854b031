use std::{
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::task::AtomicWaker;
use tokio::time::Instant;

use crate::listener::{
    core::{Core, Phase},
    limits::Times,
    status::{Closing, End, Refusal},
};

/// What happens on one connection, as its socket, its requests and its task see it.
///
/// Times are milliseconds since the start of the listener, plus 1, so that 0 is no time.
#[derive(Debug)]
pub(in crate::listener) struct Activity {
    pub(super) core: Arc<Core>,
    opened: u64,
    /// When a byte last moved. With HTTP/2, one of a request or response.
    last_byte: AtomicU64,
    /// Since when the socket takes no bytes; 0 if it does.
    blocked: AtomicU64,
    /// What the client has to send next, and since when: see [`Awaited`]. It means nothing while
    /// requests are in flight.
    awaited: AtomicU64,
    in_flight: AtomicU32,
    requests: AtomicU64,
    /// No further request is wanted.
    retiring: AtomicBool,
    /// A stream of HTTP/2 has become a tunnel.
    has_tunnel: AtomicBool,
    /// The bytes of the socket set no time. HTTP/2 reports those of requests and responses instead,
    /// and a connection that is not HTTP has no such times.
    ignores_socket_bytes: AtomicBool,
    /// A TLS handshake has begun, and has the socket until it succeeds.
    is_handshaking: AtomicBool,
    socket: AtomicU8,
    end: OnceLock<End>,
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
    closed: AtomicWaker,
}

/// What a client without a request in flight has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The first request.
    First,
    /// The rest of the first request's head. The time counts from the beginning of the connection.
    RestOfFirst,
    /// Another request, or nothing.
    Next,
    /// The rest of the head of another request.
    Rest,
}

/// What becomes of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum SocketState {
    Open,
    /// It fails from now on.
    Cut,
    Closed,
}

/// The time limit that is over next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Head,
    KeepAlive,
    Idle,
    Write,
    /// The connection is old. Only HTTP/2 has to be told before the next request.
    Age,
    /// The listener drains, and no first request has come.
    Drain,
}

/// The time that a connection without a request has once the listener drains: its first request
/// may be on the way.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

impl Activity {
    pub(in crate::listener) fn new(core: Arc<Core>) -> Self {
        let opened = now(core.start);
        Self {
            core,
            opened,
            last_byte: AtomicU64::new(opened),
            blocked: AtomicU64::new(0),
            awaited: AtomicU64::new(Awaited::First.since(opened)),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            retiring: AtomicBool::new(false),
            has_tunnel: AtomicBool::new(false),
            ignores_socket_bytes: AtomicBool::new(false),
            is_handshaking: AtomicBool::new(false),
            socket: AtomicU8::new(SocketState::Open as u8),
            end: OnceLock::new(),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            closed: AtomicWaker::new(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        now(self.core.start)
    }

    /// Returns the instant at which to look whether `time` has come.
    pub(super) fn instant(&self, time: u64) -> Instant {
        // A time beyond the range of the clock is never reached. Another look in a year costs
        // nothing.
        Instant::now() + Duration::from_millis(time.saturating_sub(self.now()).min(YEAR))
    }

    // What the socket reports.

    /// Bytes have come.
    pub(super) fn has_read(&self) {
        // With HTTP/2 the bytes may be other frames than those of a request. Without HTTP nothing
        // uses the time, and reading the clock costs some.
        if self.ignores_socket_bytes.load(Relaxed) {
            return;
        }
        let now = self.now();
        self.last_byte.store(now, Relaxed);
        if self.in_flight.load(Relaxed) > 0 {
            return;
        }
        let awaited = match Awaited::of(self.awaited.load(Relaxed)) {
            (Awaited::First, since) => Awaited::RestOfFirst.since(since),
            (Awaited::Next, _) => Awaited::Rest.since(now),
            (Awaited::RestOfFirst | Awaited::Rest, _) => return,
        };
        self.awaited.store(awaited, Relaxed);
    }

    pub(super) fn has_written(&self) {
        if self.blocked.load(Relaxed) != 0 {
            self.blocked.store(0, Relaxed);
        }
        if !self.ignores_socket_bytes.load(Relaxed) {
            self.has_sent_response();
        }
    }

    /// Bytes of a request have come, with HTTP/2.
    pub(super) fn has_received_request(&self) {
        self.last_byte.store(self.now(), Relaxed);
    }

    /// Bytes of a response were sent.
    pub(super) fn has_sent_response(&self) {
        let now = self.now();
        self.last_byte.store(now, Relaxed);
        // A body ends when its last piece is in a buffer, which may be long before that is sent.
        if self.in_flight.load(Relaxed) == 0 {
            if let (Awaited::Next, _) = Awaited::of(self.awaited.load(Relaxed)) {
                self.awaited.store(Awaited::Next.since(now), Relaxed);
            }
        }
    }

    /// The socket takes no bytes.
    pub(super) fn is_blocked(&self) {
        if self.blocked.load(Relaxed) == 0 {
            self.blocked.store(self.now(), Relaxed);
        }
    }

    /// The socket is closed.
    pub(super) fn close(&self) {
        self.socket.store(SocketState::Closed as u8, Release);
        self.closed.wake();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.socket.load(Acquire) == SocketState::Cut as u8
    }

    // What the task does.

    /// The connection is open for HTTP: the time for the first request begins.
    pub(super) fn await_first_request(&self) {
        self.awaited.store(Awaited::First.since(self.now()), Relaxed);
    }

    /// The TLS handshake has begun, or is complete. A connection that ends within it has failed it.
    #[cfg(feature = "tls")]
    pub(super) fn set_handshaking(&self, is_handshaking: bool) {
        self.is_handshaking.store(is_handshaking, Relaxed);
    }

    pub(super) fn set_http2(&self) {
        self.ignores_socket_bytes.store(true, Relaxed);
    }

    /// The connection is not HTTP: no time limit of this listener depends on its bytes.
    #[cfg(feature = "tcp")]
    pub(super) fn ignore_bytes(&self) {
        self.ignores_socket_bytes.store(true, Relaxed);
    }

    /// Makes the socket fail. After an upgrade, another task has it.
    pub(super) fn cut(&self) {
        let open = SocketState::Open as u8;
        if self.socket.compare_exchange(open, SocketState::Cut as u8, AcqRel, Acquire).is_ok() {
            self.reader.wake();
            self.writer.wake();
        }
    }

    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.closed.register(cx.waker());
        if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.socket.load(Acquire) == SocketState::Closed as u8
    }

    /// Sets how the connection ends. The first cause counts.
    pub(super) fn set_end(&self, end: End) {
        let _ = self.end.set(end);
    }

    /// The task of the connection ends before the socket is closed.
    pub(super) fn cut_off(&self) {
        if self.end.set(End::Closed(Closing::CutOff)).is_ok() {
            let (counters, in_flight) = (&self.core.counters, u64::from(self.in_flight()));
            counters.connections_cut_off.fetch_add(1, Relaxed);
            counters.requests_cut_off.fetch_add(in_flight, Relaxed);
        }
        self.cut();
    }

    /// Returns how the connection has ended, when its socket is closed.
    pub(super) fn ended(&self) -> End {
        if let Some(end) = self.end.get() {
            return *end;
        }
        if self.is_handshaking.load(Relaxed) {
            return End::Refused(Refusal::Handshake);
        }
        End::Closed(if std::thread::panicking() {
            Closing::Failed
        } else if self.core.phase() > Phase::Serving {
            Closing::Drained
        } else if self.is_retiring() {
            Closing::Retired
        } else {
            Closing::Finished
        })
    }

    // What the requests report.

    /// Returns the number of the request, from 1.
    pub(super) fn begin_request(&self) -> u64 {
        self.in_flight.fetch_add(1, Relaxed);
        self.core.counters.requests.fetch_add(1, Relaxed);
        self.requests.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn end_request(&self) {
        self.core.counters.ended.fetch_add(1, Relaxed);
        // Before the count, so that no deadline is worked out from an older time.
        self.awaited.store(Awaited::Next.since(self.now()), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn open_tunnel(&self) {
        self.has_tunnel.store(true, Relaxed);
    }

    pub(super) fn retire(&self) {
        self.retiring.store(true, Relaxed);
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Relaxed)
    }

    /// Returns whether the connection is older than `limit`. The time is that of the last byte,
    /// which costs no look at the clock.
    pub(super) fn is_older(&self, limit: Duration) -> bool {
        self.last_byte.load(Relaxed) >= self.opened.saturating_add(millis(limit))
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Returns whether part of a request head has come, and the rest is awaited.
    pub(super) fn has_part_of_a_head(&self) -> bool {
        let (awaited, _) = Awaited::of(self.awaited.load(Relaxed));
        self.in_flight() == 0 && matches!(awaited, Awaited::RestOfFirst | Awaited::Rest)
    }

    // What is due.

    /// Returns since when no request has been in flight.
    pub(super) fn idle_since(&self) -> u64 {
        Awaited::of(self.awaited.load(Relaxed)).1
    }

    /// Returns the next time limit and when it is over. `drained_since` is when the listener began
    /// to drain.
    pub(super) fn deadline(&self, times: &Times, drained_since: Option<u64>) -> (u64, Expiry) {
        let after = |since: u64, limit: Duration| since.saturating_add(millis(limit));
        let has_tunnel = self.has_tunnel.load(Relaxed);
        let blocked = self.blocked.load(Relaxed);
        let mut next = if self.in_flight() > 0 || has_tunnel {
            let limit = if has_tunnel { times.tunnel_idle } else { times.idle };
            (after(self.last_byte.load(Relaxed), limit), Expiry::Idle)
        } else {
            match Awaited::of(self.awaited.load(Relaxed)) {
                // The response is still on its way.
                (Awaited::Next, _) if blocked > 0 => (u64::MAX, Expiry::Write),
                (Awaited::Next, since) => (after(since, times.keep_alive), Expiry::KeepAlive),
                (Awaited::Rest, since) => (after(since, times.head), Expiry::Head),
                (Awaited::First | Awaited::RestOfFirst, since) => {
                    let head = (after(since, times.head), Expiry::Head);
                    let drain = drained_since.map(|since| after(since, FIRST_REQUEST_GRACE));
                    drain.map_or(head, |drain| head.or_earlier((drain, Expiry::Drain)))
                }
            }
        };
        if blocked > 0 {
            next = next.or_earlier((after(blocked, times.write), Expiry::Write));
        }
        // This is HTTP/2: a connection that is not HTTP has no deadline. On HTTP/1.1 the next
        // response has `Connection: close` instead.
        if self.ignores_socket_bytes.load(Relaxed) && !self.is_retiring() {
            next = next.or_earlier((after(self.opened, times.age), Expiry::Age));
        }
        next
    }

    /// Returns when a tunnel has been idle for too long.
    pub(super) fn tunnel_deadline(&self, times: &Times) -> u64 {
        self.last_byte.load(Relaxed).saturating_add(millis(times.tunnel_idle))
    }
}

trait OrEarlier {
    fn or_earlier(self, other: Self) -> Self;
}

impl OrEarlier for (u64, Expiry) {
    fn or_earlier(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }
}

impl Awaited {
    /// Puts the state and its beginning into one word, so that they change together.
    fn since(self, time: u64) -> u64 {
        time << 2
            | match self {
                Self::First => 0,
                Self::RestOfFirst => 1,
                Self::Next => 2,
                Self::Rest => 3,
            }
    }

    fn of(word: u64) -> (Self, u64) {
        let awaited = match word & 3 {
            0 => Self::First,
            1 => Self::RestOfFirst,
            2 => Self::Next,
            _ => Self::Rest,
        };
        (awaited, word >> 2)
    }
}

const YEAR: u64 = 365 * 24 * 3600 * 1000;

fn now(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::listener::limits::Limits;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        let times = Times {
            head: 10 * SECOND,
            keep_alive: 20 * SECOND,
            idle: 30 * SECOND,
            tunnel_idle: 40 * SECOND,
            write: 5 * SECOND,
            age: 100 * SECOND,
        };
        Limits { times, ..Limits::default() }
    }

    fn activity() -> Activity {
        Activity::new(Arc::new(Core::new(limits(), true)))
    }

    /// What is due, and in how many seconds.
    fn due(activity: &Activity, drained_since: Option<u64>) -> (u64, Expiry) {
        let (at, expiry) = activity.deadline(&limits().times, drained_since);
        ((at - activity.now()) / 1000, expiry)
    }

    #[tokio::test(start_paused = true)]
    async fn each_state_has_its_limit() {
        let activity = activity();
        advance(3 * SECOND).await;
        activity.await_first_request();
        assert_eq!(due(&activity, None), (10, Expiry::Head));
        // Bytes do not extend the time of a head.
        advance(4 * SECOND).await;
        activity.has_read();
        assert!(activity.has_part_of_a_head());
        assert_eq!(due(&activity, None), (6, Expiry::Head));
        assert_eq!(due(&activity, Some(activity.now())), (1, Expiry::Drain));

        assert_eq!(activity.begin_request(), 1);
        assert!(!activity.has_part_of_a_head());
        assert_eq!(due(&activity, None), (30, Expiry::Idle));
        advance(9 * SECOND).await;
        assert_eq!(due(&activity, None), (21, Expiry::Idle));
        activity.has_written();
        assert_eq!(due(&activity, None), (30, Expiry::Idle));

        activity.end_request();
        assert_eq!(due(&activity, Some(activity.now())), (20, Expiry::KeepAlive));
        advance(8 * SECOND).await;
        assert_eq!(due(&activity, None), (12, Expiry::KeepAlive));
        // The end of the response is sent.
        activity.has_written();
        assert_eq!(due(&activity, None), (20, Expiry::KeepAlive));
        activity.has_read();
        assert_eq!(due(&activity, None), (10, Expiry::Head));
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_socket_counts_from_the_first_refusal() {
        let activity = activity();
        activity.begin_request();
        activity.is_blocked();
        advance(3 * SECOND).await;
        activity.is_blocked();
        activity.has_read();
        assert_eq!(due(&activity, None), (2, Expiry::Write));
        activity.has_written();
        assert_eq!(due(&activity, None), (30, Expiry::Idle));
        // So does the rest of a response, which is not idle meanwhile.
        activity.end_request();
        activity.is_blocked();
        let times = Times { write: 50 * SECOND, ..limits().times };
        assert_eq!(activity.deadline(&times, None), (activity.now() + 50_000, Expiry::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn with_http2_only_bytes_of_requests_and_responses_count() {
        let activity = activity();
        activity.set_http2();
        activity.begin_request();
        advance(9 * SECOND).await;
        activity.has_read();
        activity.has_written();
        assert_eq!(due(&activity, None), (21, Expiry::Idle));
        activity.has_received_request();
        assert_eq!(due(&activity, None), (30, Expiry::Idle));
        advance(9 * SECOND).await;
        activity.has_sent_response();
        assert_eq!(due(&activity, None), (30, Expiry::Idle));
        activity.end_request();
        advance(9 * SECOND).await;
        activity.has_received_request();
        assert_eq!(due(&activity, None), (11, Expiry::KeepAlive));
        activity.has_sent_response();
        assert_eq!(due(&activity, None), (20, Expiry::KeepAlive));
    }

    #[cfg(feature = "tcp")]
    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_a_connection_that_is_not_http_set_no_time() {
        let activity = activity();
        activity.ignore_bytes();
        let before = [&activity.last_byte, &activity.awaited].map(|time| time.load(Relaxed));
        advance(SECOND).await;
        activity.has_read();
        activity.has_written();
        let after = [&activity.last_byte, &activity.awaited].map(|time| time.load(Relaxed));
        assert_eq!(before, after);
    }

    #[tokio::test(start_paused = true)]
    async fn http2_has_an_age_and_no_part_of_a_head() {
        let activity = activity();
        activity.set_http2();
        activity.begin_request();
        activity.end_request();
        activity.has_read();
        assert_eq!(due(&activity, None), (20, Expiry::KeepAlive));
        assert!(!activity.has_part_of_a_head());
        advance(90 * SECOND).await;
        activity.has_received_request();
        activity.begin_request();
        assert_eq!(due(&activity, None), (10, Expiry::Age));
        activity.retire();
        assert_eq!(due(&activity, None), (30, Expiry::Idle));
        activity.open_tunnel();
        activity.end_request();
        assert_eq!(due(&activity, None), (40, Expiry::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_the_clock_is_none() {
        let activity = activity();
        let times = Times { idle: Duration::MAX, ..limits().times };
        activity.begin_request();
        assert_eq!(activity.deadline(&times, None), (u64::MAX, Expiry::Idle));
        // Also when a look after a year was too early.
        for _ in 0..3 {
            assert!(activity.instant(u64::MAX) > Instant::now() + 1000 * SECOND);
            advance(Duration::from_millis(YEAR)).await;
        }
        let now = activity.now();
        assert_eq!(activity.instant(now), Instant::now());
        assert_eq!(activity.instant(now + 5000), Instant::now() + 5 * SECOND);
    }

    #[tokio::test]
    async fn the_first_cause_of_the_end_counts() {
        let closing = Activity::ended;
        assert_eq!(closing(&activity()), End::Closed(Closing::Finished));
        let retiring = activity();
        retiring.retire();
        assert_eq!(closing(&retiring), End::Closed(Closing::Retired));
        retiring.core.advance(Phase::Draining);
        assert_eq!(closing(&retiring), End::Closed(Closing::Drained));
        retiring.set_end(End::Closed(Closing::KeepAlive));
        retiring.begin_request();
        retiring.cut_off();
        assert_eq!(closing(&retiring), End::Closed(Closing::KeepAlive));
        assert_eq!(retiring.core.counters.requests_cut_off.load(Relaxed), 0);
        assert!(retiring.is_cut());
        retiring.close();
        assert!(retiring.is_closed() && !retiring.is_cut());
    }

    proptest! {
        #[test]
        fn a_state_and_its_time_share_a_word(time in 0..u64::MAX >> 2) {
            for awaited in
                [Awaited::First, Awaited::RestOfFirst, Awaited::Next, Awaited::Rest]
            {
                prop_assert_eq!(Awaited::of(awaited.since(time)), (awaited, time));
            }
        }
    }
}
