//! HTTP/2 connections: many requests at a time.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::task::AtomicWaker;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    body::SentBody,
    connect::{Events, Io},
    endpoint::{Endpoint, RequestBody},
};

/// A boxed exchange: hyper's future cannot be named. hyper itself starts a task for each stream, so
/// the box is a small part of the cost of a request.
pub(super) type Exchange<B> = Pin<
    Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<SentBody<B>>>>> + Send>,
>;

/// How often, and for how long together (0.2 s), the settings of a peer are looked for.
const SETTINGS_CHECKS: u32 = 40;
const SETTINGS_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// The distance between two looks at which a connection stops to look for settings: after some 5 s.
const MAX_SETTINGS_CHECK_INTERVAL: Duration = Duration::from_millis(2560);

/// The time in which a peer has to answer a ping.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection in the pool.
pub(super) struct Connection<B> {
    sender: http2::SendRequest<SentBody<B>>,
    pub(super) streams: Arc<Streams>,
    /// Since when it has no stream.
    pub(super) idle_since: Option<Instant>,
    /// The end of its age.
    pub(super) retire_at: Option<Instant>,
}

/// The streams of a connection.
pub(super) struct Streams {
    pub(super) id: u64,
    open: AtomicUsize,
    /// The limit of the peer.
    limit: AtomicUsize,
    has_extended_connect: AtomicBool,
    is_reused: AtomicBool,
    /// Lets the settings of the peer be looked at.
    driver: AtomicWaker,
    events: Weak<dyn Events>,
}

/// A place in the count of streams of a connection.
pub(super) struct StreamGuard(Arc<Streams>);

/// A stream that a request may open.
pub(super) struct Stream<B> {
    sender: http2::SendRequest<SentBody<B>>,
    pub(super) guard: StreamGuard,
    /// Whether the connection has carried a stream before.
    pub(super) is_reused: bool,
}

/// hyper's side of a connection, which has to be driven for the connection to work.
pub(super) struct Driver<B: RequestBody> {
    connection: http2::Connection<TokioIo<Io>, SentBody<B>, TokioExecutor>,
    streams: Arc<Streams>,
}

/// Returns a new connection and its driver.
pub(super) async fn establish<B: RequestBody>(
    io: Io,
    id: u64,
    retire_at: Option<Instant>,
    keep_alive: Duration,
    max_head: Option<usize>,
    events: Weak<dyn Events>,
) -> hyper::Result<(Connection<B>, Driver<B>)> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(max_head) = max_head {
        builder.max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX));
    }
    let (sender, connection) = builder
        .timer(TokioTimer::new())
        // A connection that a partition has cut off would otherwise take requests for many minutes.
        .keep_alive_interval((!keep_alive.is_zero()).then_some(keep_alive))
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .handshake(TokioIo::new(io))
        .await?;
    let streams = Arc::new(Streams {
        id,
        open: AtomicUsize::new(0),
        limit: AtomicUsize::new(connection.current_max_send_streams()),
        has_extended_connect: AtomicBool::new(false),
        is_reused: AtomicBool::new(false),
        driver: AtomicWaker::new(),
        events,
    });
    let driver = Driver { connection, streams: Arc::clone(&streams) };
    Ok((Connection { sender, streams, idle_since: Some(Instant::now()), retire_at }, driver))
}

impl Streams {
    /// Returns whether the peer is known to accept extended CONNECT.
    pub(super) fn has_extended_connect(&self) -> bool {
        self.has_extended_connect.load(Ordering::Relaxed)
    }
}

impl<B> Connection<B> {
    /// Returns a stream, unless the connection has `limit` streams or as many as the peer allows.
    pub(super) fn open(&mut self, limit: usize) -> Option<Stream<B>> {
        let limit = limit.min(self.streams.limit.load(Ordering::Relaxed));
        if self.sender.is_closed() || self.streams.open.load(Ordering::Relaxed) >= limit {
            return None;
        }
        // The lock of the pool makes the look and the count one step.
        self.streams.open.fetch_add(1, Ordering::Relaxed);
        self.idle_since = None;
        let is_reused = self.streams.is_reused.swap(true, Ordering::Relaxed);
        let guard = StreamGuard(Arc::clone(&self.streams));
        Some(Stream { sender: self.sender.clone(), guard, is_reused })
    }

    /// Notes since when the connection has no stream.
    pub(super) fn note_idle(&mut self) {
        if self.idle_since.is_none() && self.streams.open.load(Ordering::Relaxed) == 0 {
            self.idle_since = Some(Instant::now());
        }
    }
}

impl<B: RequestBody> Stream<B> {
    /// Returns whether the peer accepts extended CONNECT.
    ///
    /// The settings of the peer arrive after a new connection is in use, and hyper has no event for
    /// them. So they get a moment.
    pub(super) async fn has_extended_connect(&self) -> bool {
        let streams = &self.guard.0;
        for _ in 0..SETTINGS_CHECKS {
            if streams.has_extended_connect() {
                return true;
            }
            streams.driver.wake();
            sleep(SETTINGS_CHECK_INTERVAL).await;
        }
        false
    }

    pub(super) fn send(
        mut self,
        mut request: Request<SentBody<B>>,
    ) -> (Exchange<B>, Arc<StreamGuard>) {
        let guard = Arc::new(self.guard);
        if !request.body().is_end_stream() {
            request.body_mut().hold(Some(Arc::clone(&guard)));
        }
        (Box::pin(self.sender.try_send_request(request)), guard)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(events) = self.0.events.upgrade() {
            events.streams_freed(&self.0);
        }
    }
}

impl fmt::Debug for StreamGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamGuard").finish_non_exhaustive()
    }
}

impl<B: RequestBody> Driver<B> {
    /// Drives the connection until no stream can be opened on it, which a GOAWAY ends too. Open
    /// streams continue in hyper's task. Closes it when it has been idle for too long.
    pub(super) async fn run(self, endpoint: Weak<Endpoint<B>>, first_check: Instant) {
        let Self { connection, streams } = self;
        let _leave = LeaveOnDrop { id: streams.id, endpoint: Weak::clone(&endpoint) };
        let mut connection = pin!(connection);
        let mut timer = pin!(sleep_until(first_check));
        // hyper has no event for the settings of the peer. They are looked for, at growing
        // distances, because requests may wait for nothing else.
        let mut distance = SETTINGS_CHECK_INTERVAL;
        let mut settings_check = pin!(sleep(distance));
        poll_fn(|cx| {
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            streams.driver.register(cx.waker());
            while distance < MAX_SETTINGS_CHECK_INTERVAL
                && settings_check.as_mut().poll(cx).is_ready()
            {
                distance *= 2;
                settings_check.as_mut().reset(Instant::now() + distance);
            }
            let limit = connection.current_max_send_streams();
            if streams.limit.swap(limit, Ordering::Relaxed) < limit {
                if let Some(endpoint) = endpoint.upgrade() {
                    endpoint.streams_freed(&streams);
                }
            }
            let has_extended_connect = connection.is_extended_connect_protocol_enabled();
            streams.has_extended_connect.store(has_extended_connect, Ordering::Relaxed);
            while timer.as_mut().poll(cx).is_ready() {
                let Some(next) = endpoint.upgrade().map(|endpoint| endpoint.expire(streams.id))
                else {
                    break;
                };
                timer.as_mut().reset(next);
            }
            Poll::Pending
        })
        .await;
    }
}

/// Takes a connection from the pool when its driver ends, however it ends.
struct LeaveOnDrop<B> {
    id: u64,
    endpoint: Weak<Endpoint<B>>,
}

impl<B> Drop for LeaveOnDrop<B> {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.upgrade() {
            endpoint.leave(self.id);
        }
    }
}
