//! The connections to one endpoint, and the requests that wait for one.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use http_body::Body;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::{
    connect::{Events, Slot},
    http1, http2,
    message::Target,
    opening::{Established, Opening, run},
    pool::{Pool, Protocol},
};
use crate::{
    BoxError,
    error::{ClientError, ClientErrorKind},
    escape::{Escaped, EscapedChain},
    log_limit::LogLimit,
    sync::{Mutex, lock},
};

/// The request bodies that hyper sends.
pub(super) trait RequestBody:
    Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static> RequestBody for B {}

/// The connections to one endpoint.
pub(super) struct Endpoint<B> {
    pub(super) pool: Pool,
    pub(super) target: Target,
    state: Mutex<State<B>>,
    /// For the errors of connections, of which there may be one per request.
    error_log: Mutex<LogLimit>,
}

/// While requests wait, no connection is idle and no stream is free: what becomes free is given to
/// the first request, under the lock. So no request is forgotten, and none overtakes another.
struct State<B> {
    /// HTTP/1.1 connections. The one used last is at the end, and is used first.
    idle: Vec<Idle<B>>,
    /// HTTP/2 connections that accept streams.
    shared: Vec<http2::Connection<B>>,
    /// Sockets, including those that are being opened.
    sockets: usize,
    /// Sockets that are being opened for requests in the queue.
    opening: usize,
    /// The protocol of the last connection.
    negotiated: Option<Protocol>,
    queue: VecDeque<Waiter<B>>,
    last_id: u64,
}

struct Idle<B> {
    connection: http1::Connection<B>,
    since: Instant,
}

pub(super) type Waiter<B> = oneshot::Sender<Result<Delivery<B>, ClientError>>;
pub(super) type Waiting<B> = oneshot::Receiver<Result<Delivery<B>, ClientError>>;

/// What a request is sent on.
pub(super) enum Leased<B> {
    Http1(http1::Connection<B>),
    Http2(http2::Stream<B>),
}

/// A [`Leased`] on its way to a waiting request. If the request is cancelled, it returns.
pub(super) struct Delivery<B> {
    leased: Option<Leased<B>>,
    endpoint: Weak<Endpoint<B>>,
}

impl<B> Delivery<B> {
    pub(super) fn take(mut self) -> Option<Leased<B>> {
        self.leased.take()
    }
}

impl<B> Drop for Delivery<B> {
    fn drop(&mut self) {
        // A stream returns when its guard is dropped.
        if let (Some(Leased::Http1(connection)), Some(endpoint)) =
            (self.leased.take(), self.endpoint.upgrade())
        {
            endpoint.release(connection);
        }
    }
}

pub(super) enum Checkout<B> {
    Leased(Leased<B>),
    Waiting(Waiting<B>),
    Busy,
}

/// How often a connection that is in use is checked at most.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// A time that is later than any use of a connection.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
/// The streams that one new connection is expected to carry if no limit is known.
const EXPECTED_STREAMS: usize = 100;

impl<B> Endpoint<B> {
    pub(super) fn new(pool: Pool, target: Target) -> Self {
        let state = State {
            idle: Vec::new(),
            shared: Vec::new(),
            sockets: 0,
            opening: 0,
            negotiated: None,
            queue: VecDeque::new(),
            last_id: 0,
        };
        Self { pool, target, state: Mutex::new(state), error_log: Mutex::default() }
    }

    /// Counts and logs that a connection cannot be opened.
    pub(super) fn record_error(&self, error: &ClientError) {
        self.pool.counters.count_failure(error);
        let suppressed = lock(&self.error_log).pass();
        if let Some(suppressed) = suppressed {
            tracing::debug!(
                origin = %Escaped(&self.target.origin),
                cause = %EscapedChain(error),
                suppressed,
                "no connection to the endpoint"
            );
        }
    }

    /// Returns whether an upgrade has to offer HTTP/1.1 only: where the endpoint selects the
    /// protocol, and no HTTP/2 connection is known to accept upgrades.
    pub(super) fn needs_http1_to_upgrade(&self) -> bool {
        let accepts = |shared: &http2::Connection<B>| shared.streams.has_extended_connect();
        self.pool.prior_knowledge(&self.target.origin).is_none()
            && !lock(&self.state).shared.iter().any(accepts)
    }

    /// Returns whether the last connection uses HTTP/2.
    pub(super) fn has_negotiated_http2(&self) -> bool {
        lock(&self.state).negotiated == Some(Protocol::Http2)
    }

    /// Returns whether there is any connection.
    pub(super) fn is_connected(&self) -> bool {
        lock(&self.state).sockets > 0
    }

    /// Returns a connection that has no request to the first request in the queue, or keeps it.
    pub(super) fn release(self: &Arc<Self>, connection: http1::Connection<B>) {
        if connection.is_retired() {
            return;
        }
        let unused = self.serve(&mut lock(&self.state), connection);
        drop(unused);
    }

    /// Gives a connection to the first request in the queue, or keeps it. Returns it if enough are
    /// kept.
    fn serve(
        self: &Arc<Self>,
        state: &mut State<B>,
        mut connection: http1::Connection<B>,
    ) -> Option<http1::Connection<B>> {
        while let Some(waiter) = state.queue.pop_front() {
            match self.deliver(waiter, Leased::Http1(connection)) {
                Some(Leased::Http1(returned)) => connection = returned,
                _ => return None,
            }
        }
        if state.idle.len() >= self.pool.max_idle || self.pool.idle_timeout.is_zero() {
            return Some(connection);
        }
        // One that has waited may close as it is taken, even if it has carried no request.
        connection.is_reused = true;
        state.idle.push(Idle { connection, since: Instant::now() });
        None
    }

    /// Gives a request what it waits for. Returns it if the request has been cancelled.
    ///
    /// It must not be dropped under the lock: a stream would lock again.
    pub(super) fn deliver(
        self: &Arc<Self>,
        waiter: Waiter<B>,
        leased: Leased<B>,
    ) -> Option<Leased<B>> {
        let delivery = Delivery { leased: Some(leased), endpoint: Arc::downgrade(self) };
        match waiter.send(Ok(delivery)) {
            Err(Ok(returned)) => returned.take(),
            _ => None,
        }
    }

    /// Gives free streams to the requests in the queue.
    fn serve_streams(self: &Arc<Self>, state: &mut State<B>) -> Option<Leased<B>> {
        let State { shared, queue, .. } = state;
        let mut unused = None;
        for connection in shared {
            while !queue.is_empty() {
                let stream = unused
                    .take()
                    .or_else(|| connection.open(self.pool.max_streams).map(Leased::Http2));
                let Some(stream) = stream else { break };
                let Some(waiter) = queue.pop_front() else { return Some(stream) };
                unused = self.deliver(waiter, stream);
            }
        }
        unused
    }

    /// Takes a connection from the pool that has ended or accepts no requests any more.
    pub(super) fn leave(&self, id: u64) {
        let mut state = lock(&self.state);
        state.idle.retain(|idle| idle.connection.id != id);
        state.shared.retain(|shared| shared.streams.id != id);
    }

    /// Closes the connection if it has been idle for too long or is too old, and returns when to
    /// look at it again.
    pub(super) fn expire(&self, id: u64) -> Instant {
        let now = Instant::now();
        let idle_timeout = self.pool.idle_timeout;
        let is_over = |since: Option<Instant>, retire_at: Option<Instant>| {
            let is_idle = since.is_some_and(|since| now.duration_since(since) >= idle_timeout);
            is_idle || retire_at.is_some_and(|retire_at| retire_at <= now)
        };
        let mut state = lock(&self.state);
        let mut check = (None, None);
        if let Some(at) = state.idle.iter().position(|idle| idle.connection.id == id) {
            let idle = &state.idle[at];
            check = (Some(idle.since), idle.connection.retire_at);
            if is_over(check.0, check.1) {
                drop(state.idle.remove(at));
                return now + FAR;
            }
        } else if let Some(at) = state.shared.iter().position(|shared| shared.streams.id == id) {
            let shared = &state.shared[at];
            check = (shared.idle_since, shared.retire_at);
            // The streams that are open on it finish.
            if is_over(check.0, check.1) {
                drop(state.shared.remove(at));
                return now + FAR;
            }
        }
        let idle_end = later(check.0.unwrap_or(now), idle_timeout.max(MIN_CHECK_INTERVAL));
        // An old connection that is in use is not returned to the pool.
        check.1.map_or(idle_end, |retire_at| retire_at.min(idle_end))
    }

    pub(super) fn next_id(&self) -> u64 {
        let mut state = lock(&self.state);
        state.last_id += 1;
        state.last_id
    }

    pub(super) fn first_check(&self, retire_at: Option<Instant>) -> Instant {
        let idle_end = later(Instant::now(), self.pool.idle_timeout.max(MIN_CHECK_INTERVAL));
        retire_at.map_or(idle_end, |retire_at| retire_at.min(idle_end))
    }

    pub(super) fn fail(&self, waiters: impl IntoIterator<Item = Waiter<B>>, error: &ClientError) {
        for waiter in waiters {
            // The request may have been cancelled.
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

/// Adds a duration that may be beyond the range of the clock.
pub(super) fn later(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration.min(FAR)).unwrap_or(instant)
}

impl<B: RequestBody> Endpoint<B> {
    /// Returns a connection, or the place of the request in the queue.
    pub(super) fn checkout(self: &Arc<Self>) -> Checkout<B> {
        let mut state = lock(&self.state);
        while let Some(Idle { connection, .. }) = state.idle.pop() {
            if connection.is_usable() && !connection.is_retired() {
                return Checkout::Leased(Leased::Http1(connection));
            }
        }
        let max_streams = self.pool.max_streams;
        if let Some(stream) = state.shared.iter_mut().find_map(|shared| shared.open(max_streams)) {
            return Checkout::Leased(Leased::Http2(stream));
        }
        if state.queue.len() >= self.pool.max_waiting {
            // The places of cancelled requests are free.
            state.queue.retain(|waiter| !waiter.is_closed());
            if state.queue.len() >= self.pool.max_waiting {
                return Checkout::Busy;
            }
        }
        let (waiter, waiting) = oneshot::channel();
        state.queue.push_back(waiter);
        let wanted = self.reserve(&mut state);
        drop(state);
        self.open(wanted);
        Checkout::Waiting(waiting)
    }

    /// Returns a connection with HTTP/1.1 for an upgrade, where other requests may use HTTP/2. It
    /// does not wait for one that is in use.
    pub(super) fn checkout_http1(self: &Arc<Self>) -> Checkout<B> {
        let mut state = lock(&self.state);
        while let Some(Idle { connection, .. }) = state.idle.pop() {
            if connection.is_usable() && !connection.is_retired() {
                return Checkout::Leased(Leased::Http1(connection));
            }
        }
        if state.sockets >= self.pool.max_connections {
            return Checkout::Busy;
        }
        state.sockets += 1;
        drop(state);
        let (waiter, waiting) = oneshot::channel();
        self.spawn(Some(waiter));
        Checkout::Waiting(waiting)
    }

    /// Counts the sockets to open for the requests in the queue.
    fn reserve(&self, state: &mut State<B>) -> usize {
        let known = self.pool.prior_knowledge(&self.target.origin);
        let expected = match known.or(state.negotiated) {
            Some(Protocol::Http1) => state.queue.len(),
            Some(Protocol::Http2) => {
                state.queue.len().div_ceil(self.pool.max_streams.min(EXPECTED_STREAMS))
            }
            // One connection tells the protocol.
            None => state.queue.len().min(1),
        };
        let free = self.pool.max_connections.saturating_sub(state.sockets);
        let wanted = expected.saturating_sub(state.opening).min(free);
        state.sockets += wanted;
        state.opening += wanted;
        debug_assert!(state.sockets <= self.pool.max_connections);
        wanted
    }

    /// Opens sockets that have been [reserved](Self::reserve).
    fn open(self: &Arc<Self>, wanted: usize) {
        for _ in 0..wanted {
            self.spawn(None);
        }
    }

    /// Starts the task of a connection, for one request or for the line.
    fn spawn(self: &Arc<Self>, only_for: Option<Waiter<B>>) {
        let slot = self.slot();
        let opening = Opening::new(Arc::clone(self), only_for);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(run(opening, slot))),
            Err(error) => opening.failed(&ClientError::new(ClientErrorKind::Connect, error)),
        }
    }

    fn slot(self: &Arc<Self>) -> Slot {
        let events: Weak<Self> = Arc::downgrade(self);
        Slot::new(events)
    }

    pub(super) fn opened(self: &Arc<Self>, established: Established<B>) {
        let mut state = lock(&self.state);
        state.opening -= 1;
        let unused = match established {
            Established::Http1(connection) => {
                state.negotiated = Some(Protocol::Http1);
                self.serve(&mut state, connection).map(Leased::Http1)
            }
            Established::Http2(connection) => {
                state.negotiated = Some(Protocol::Http2);
                state.shared.push(connection);
                self.serve_streams(&mut state)
            }
        };
        // The others may need more connections than one, now that the protocol is known.
        let wanted = self.reserve(&mut state);
        drop(state);
        drop(unused);
        self.open(wanted);
    }

    pub(super) fn connect_failed(self: &Arc<Self>, error: &ClientError, runtime_ended: bool) {
        let mut state = lock(&self.state);
        state.opening -= 1;
        // Another connection, or one that is still being opened, may serve the other requests.
        // Without one, they would wait for one attempt after the other.
        let is_last = state.opening == 0 && state.sockets <= 1;
        let failed: VecDeque<_> = if is_last || runtime_ended {
            std::mem::take(&mut state.queue)
        } else {
            let first_live = state.queue.iter().position(|waiter| !waiter.is_closed());
            let end = first_live.map_or(state.queue.len(), |at| at + 1);
            state.queue.drain(..end).collect()
        };
        drop(state);
        self.fail(failed, error);
    }
}

impl<B: RequestBody> Events for Endpoint<B> {
    fn socket_closed(self: Arc<Self>) {
        let mut state = lock(&self.state);
        state.sockets -= 1;
        let wanted = self.reserve(&mut state);
        drop(state);
        self.open(wanted);
    }

    fn streams_freed(self: Arc<Self>, streams: &http2::Streams) {
        let mut state = lock(&self.state);
        if let Some(shared) = state.shared.iter_mut().find(|shared| shared.streams.id == streams.id)
        {
            shared.note_idle();
        }
        let unused = self.serve_streams(&mut state);
        drop(state);
        drop(unused);
    }
}
