use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use tokio::{net::UdpSocket, time::Instant};
use tower_service::Service;

use super::{
    TargetLoss,
    builder::{OPEN, OPENING, Settings},
    session::{Failed, Session, SessionKey, SessionState},
};
use crate::{
    BoxError,
    error::chain,
    flow::{FlowKey, FlowTable, FlowTableBuilder, Refusal, Removal, Removed},
    log_limit::LogLimit,
    outcome::{Attempts, CallerError, Carry, Outcome},
    udp::{
        Flow, OpenFlow, ServerId, TargetLoop,
        ready::{EXPIRIES, Item, ReadyQueue},
        receive::{Buffer, Received},
        socket::{self, drop_reason, is_refused},
        status::{Counters, DropReason, FlowEnd},
        target::Loss,
    },
};

/// The flows of a relay.
pub(super) struct Flows<S> {
    service: S,
    /// The socket that replies leave from.
    replies: Arc<UdpSocket>,
    local: SocketAddr,
    table: FlowTable<Session, SessionKey>,
    settings: Settings,
    counters: Arc<Counters>,
    ready: Arc<ReadyQueue<SessionKey>>,
    /// Kept for its memory.
    woken: Vec<Arc<Item<SessionKey>>>,
    buffer: Buffer,
    next_number: u64,
    is_stopping: bool,
    log_limit: LogLimit,
}

/// How many replies of one flow are sent before others get a turn.
const REPLIES: usize = 16;

/// Why a flow needs another target.
#[derive(Clone, Copy)]
enum Cause {
    Lost(Loss),
    Refused,
}

impl Cause {
    /// Returns what becomes of the flow.
    fn effect(self, settings: &Settings) -> TargetLoss {
        match self {
            Self::Lost(Loss::Removed) => settings.on_removed,
            Self::Lost(Loss::Unhealthy) => settings.on_unhealthy,
            Self::Refused => settings.on_refused,
        }
    }
}

impl<S> Flows<S> {
    pub(super) fn new(
        service: S,
        (replies, local): (Arc<UdpSocket>, SocketAddr),
        table: FlowTable<Session, SessionKey>,
        settings: Settings,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            service,
            replies,
            local,
            table,
            settings,
            counters,
            ready: ReadyQueue::new(),
            woken: Vec::new(),
            buffer: Buffer::new(),
            next_number: 0,
            is_stopping: false,
            log_limit: LogLimit::default(),
        }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.table.next_expiry()
    }

    /// Lets no flow begin any more. Returns when the others are to be cut off.
    pub(super) fn stop(&mut self, now: Instant) -> Instant {
        self.is_stopping = true;
        // A longer time may be more than an instant can represent.
        now + self.settings.drain_timeout.min(FlowTableBuilder::MAX_TIMEOUT)
    }

    /// Ends all flows.
    pub(super) fn cut_off(&mut self) {
        let keys: Vec<_> = self.table.iter().map(|(key, _)| *key).collect();
        for key in keys {
            self.end(&key, FlowEnd::Stopped);
        }
    }

    /// Ends flows that were idle. Returns true if there may be more.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        for _ in 0..EXPIRIES {
            let Some((_, session)) = self.table.pop_expired(now) else { return false };
            self.expired(session);
        }
        true
    }

    fn expired(&self, session: Session) {
        if let SessionState::Opening { .. } = &session.state {
            self.counters.count_drop(DropReason::Unavailable);
            return self.ended(session, FlowEnd::Unopened);
        }
        self.ended(session, FlowEnd::Idle);
    }

    fn end(&mut self, key: &SessionKey, end: FlowEnd) {
        if let Some(session) = self.table.remove(key) {
            self.ended(session, end);
        }
    }

    fn ended(&self, session: Session, end: FlowEnd) {
        self.counters.open.fetch_sub(1, Relaxed);
        self.counters.ended.count(end);
        if let SessionState::Opening { .. } = &session.state {
            // The datagram that waited is lost. Of flows that no endpoint took it is counted by the
            // reason.
            match end {
                FlowEnd::Evicted => self.counters.count_drop(DropReason::Displaced),
                FlowEnd::Stopped => self.counters.count_drop(DropReason::Stopping),
                FlowEnd::Idle | FlowEnd::Unopened => {}
            }
        }
        let is_timeout = self.settings.expect_replies && end == FlowEnd::Idle;
        session.finish(if is_timeout { Outcome::Timeout } else { Outcome::Cancelled });
    }
}

impl<S> Flows<S>
where
    S: Service<Flow, Response = OpenFlow, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
{
    /// Handles a datagram of a client.
    pub(super) fn received(&mut self, received: Received<'_>, now: Instant) {
        let Received { payload, from } = received;
        self.counters.received(payload.len());
        if from == self.local {
            return self.counters.count_drop(DropReason::Looping);
        }
        if payload.len() > self.settings.max_datagram_bytes {
            return self.counters.count_drop(DropReason::TooLarge);
        }
        let server_id = self.server_id(payload);
        let key = self.route(from, server_id, now);
        let Some(session) = self.table.get(&key, now) else {
            return self.begin(key, from, server_id, payload, now);
        };
        match &mut session.state {
            SessionState::Open { open, .. } => {
                let lost = open.socket.loss().map(Cause::Lost);
                let lost = lost.filter(|it| it.effect(&self.settings) != TargetLoss::Keep);
                if let Some(cause) = lost {
                    return self.lose(&key, cause, payload, now);
                }
                match socket::send(&open.socket.socket, payload) {
                    Ok(_) => {}
                    // It is about an earlier datagram: this one was not sent.
                    Err(error) if is_refused(&error) => {
                        self.lose(&key, Cause::Refused, payload, now);
                    }
                    Err(error) => self.counters.count_drop(drop_reason(&error)),
                }
            }
            SessionState::Opening { datagram, .. } => {
                // The newest is of most use to the receiver.
                *datagram = payload.into();
                self.counters.count_drop(DropReason::Overtaken);
            }
            SessionState::Vacant { failed } => {
                let failed = failed.take();
                self.open(key, server_id, failed, payload, now);
            }
            SessionState::Lost => self.counters.count_drop(DropReason::TargetLost),
        }
    }

    fn server_id(&self, payload: &[u8]) -> Option<ServerId> {
        self.settings.server_id.as_ref().and_then(|find| find(payload))
    }

    /// Returns the key of the flow that a datagram belongs to: that of its addresses, unless that
    /// flow is known to be at another server.
    fn route(&mut self, from: SocketAddr, server_id: Option<ServerId>, now: Instant) -> SessionKey {
        let flow = FlowKey::five_tuple(FlowKey::UDP, from, self.local);
        let key = SessionKey { flow, server_id: None };
        if server_id.is_none() {
            return key;
        }
        match self.table.peek(&key, now).map(|session| &session.state) {
            Some(SessionState::Open { open, .. }) if open.socket.server_id() != server_id => {
                SessionKey { flow, server_id }
            }
            _ => key,
        }
    }

    /// Begins a flow.
    fn begin(
        &mut self,
        key: SessionKey,
        from: SocketAddr,
        server_id: Option<ServerId>,
        payload: &[u8],
        now: Instant,
    ) {
        if self.is_stopping {
            return self.counters.count_drop(DropReason::Stopping);
        }
        if payload.is_empty() {
            return self.counters.count_drop(DropReason::Empty);
        }
        self.next_number += 1;
        let (number, source) = (self.next_number, from.ip());
        // The table decides first, so that a flow that is refused costs next to nothing.
        match self.table.insert(key, source, OPENING, Session::new(number, from), now) {
            Ok(None) => {}
            Ok(Some(Removed { value, cause: Removal::Evicted, .. })) => {
                self.ended(value, FlowEnd::Evicted);
            }
            Ok(Some(Removed { value, .. })) => self.expired(value),
            Err(refused) => {
                return self.counters.count_drop(match refused.reason {
                    Refusal::SourceFull => DropReason::SourceFull,
                    Refusal::TableFull => DropReason::TableFull,
                });
            }
        }
        self.counters.open.fetch_add(1, Relaxed);
        self.counters.created.fetch_add(1, Relaxed);
        if let Some(session) = self.table.peek(&key, now) {
            session.waker = self.ready.waker(key, number);
        }
        self.open(key, server_id, None, payload, now);
    }

    /// Picks a target for a flow.
    fn open(
        &mut self,
        key: SessionKey,
        server_id: Option<ServerId>,
        failed: Option<Attempts>,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(session) = self.table.set_class(&key, OPENING, now) else { return };
        let mut flow = Flow::new(key.flow.source(), self.local).with_server_id(server_id);
        if let Some(attempts) = failed {
            attempts.begin_next();
            flow.carry(attempts);
        }
        let mut service = self.service.clone();
        let mut opening = Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(flow).await.map_err(Into::into)
        });
        match opening.as_mut().poll(&mut Context::from_waker(&session.waker)) {
            Poll::Ready(opened) => self.opened(&key, opened, payload, now),
            // Only now the datagram needs memory of its own.
            Poll::Pending => {
                session.state = SessionState::Opening { opening, datagram: payload.into() };
            }
        }
    }

    fn opened(
        &mut self,
        key: &SessionKey,
        opened: Result<OpenFlow, BoxError>,
        payload: &[u8],
        now: Instant,
    ) {
        let open = match opened {
            Ok(open) => open,
            Err(error) => return self.not_opened(key, &error),
        };
        match socket::send(&open.socket.socket, payload) {
            Ok(_) => {}
            // Nothing was sent. The next datagram begins anew, so that no failure repeats here.
            Err(error) if is_refused(&error) => {
                self.counters.count_drop(DropReason::Refused);
                open.attempt.finish(Outcome::TransportFailure);
                return self.end(key, FlowEnd::Unopened);
            }
            Err(error) => self.counters.count_drop(drop_reason(&error)),
        }
        let ignores = self.settings.on_refused == TargetLoss::Keep;
        if let Some(session) = self.table.set_class(key, OPEN, now) {
            let failed = (!ignores).then(|| socket::failed(Arc::clone(&open.socket.socket)));
            let failed = failed.map(|failed| Box::pin(failed) as Failed);
            session.state = SessionState::Open { open, failed, has_reply: false };
            // The first poll registers the waker with the socket.
            session.waker.wake_by_ref();
        }
    }

    #[cold]
    fn not_opened(&mut self, key: &SessionKey, error: &BoxError) {
        let reason = match &**error {
            error if chain(error).any(|error| error.is::<TargetLoop>()) => DropReason::Looping,
            error if chain(error).any(|error| error.is::<CallerError>()) => DropReason::NoSocket,
            _ => DropReason::Unavailable,
        };
        self.counters.count_drop(reason);
        if let Some(suppressed) = self.log_limit.pass() {
            let (relay, flow) = (self.counters.name.get(), key.flow);
            tracing::warn!(%relay, %flow, %error, suppressed, "flow not opened");
        }
        self.end(key, FlowEnd::Unopened);
    }

    /// Handles a datagram of a flow that has lost its target.
    fn lose(&mut self, key: &SessionKey, cause: Cause, payload: &[u8], now: Instant) {
        match cause.effect(&self.settings) {
            // It stays with a target that refuses datagrams.
            TargetLoss::Keep => self.counters.count_drop(DropReason::Refused),
            TargetLoss::Drop => {
                self.leave(key, cause, SessionState::Lost, now);
                self.counters.count_drop(DropReason::TargetLost);
            }
            TargetLoss::Repick => {
                let vacant = SessionState::Vacant { failed: None };
                let failed = self.leave(key, cause, vacant, now);
                self.counters.repicked.fetch_add(1, Relaxed);
                let server_id = self.server_id(payload);
                self.open(*key, server_id, failed, payload, now);
            }
        }
    }

    /// Ends the attempt of a flow. Returns the attempts to go on with if the target has refused it,
    /// which another pick must avoid. Otherwise the strategy knows best.
    fn leave(
        &mut self,
        key: &SessionKey,
        cause: Cause,
        next: SessionState,
        now: Instant,
    ) -> Option<Attempts> {
        let session = self.table.peek(key, now)?;
        let SessionState::Open { open, has_reply, .. } =
            std::mem::replace(&mut session.state, next)
        else {
            return None;
        };
        let failed = matches!(cause, Cause::Refused).then(|| {
            let attempts = Attempts::new();
            attempts.went_to(open.attempt.endpoint_id().stats());
            attempts
        });
        open.attempt.finish(match cause {
            Cause::Refused => Outcome::TransportFailure,
            Cause::Lost(_) if has_reply => Outcome::Success,
            Cause::Lost(_) => Outcome::Cancelled,
        });
        failed
    }

    /// Polls flows that were woken: those with replies, and those whose target was picked. Returns
    /// true if there are more.
    pub(super) fn poll_woken(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        let has_more = self.ready.take(cx.waker(), &mut woken);
        woken.drain(..).for_each(|item| self.poll_flow(&item, now));
        self.woken = woken;
        has_more
    }

    fn poll_flow(&mut self, item: &Item<SessionKey>, now: Instant) {
        let key = &item.key;
        let session = self.table.peek(key, now);
        let Some(session) = session.filter(|session| session.number == item.number) else { return };
        let waker = session.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        match &mut session.state {
            SessionState::Opening { opening, datagram } => {
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    let payload = std::mem::take(datagram);
                    self.opened(key, opened, &payload, now);
                }
            }
            SessionState::Open { open, failed, has_reply } => {
                let (client, max) = (session.client, self.settings.max_datagram_bytes);
                let replies = Replies { to: &self.replies, client, max, counters: &self.counters };
                let (count, mut failure) = replies.relay(open, &mut self.buffer, cx);
                if let Some(failed) = failed.as_mut().filter(|_| failure.is_none()) {
                    if let Poll::Ready(error) = failed.as_mut().poll(cx) {
                        failure = Some(error);
                    }
                }
                if count > 0 {
                    *has_reply = true;
                    self.table.establish(key, now);
                }
                if let Some(error) = failure {
                    self.reply_failed(key, &error, &waker, now);
                }
            }
            SessionState::Vacant { .. } | SessionState::Lost => {}
        }
    }

    /// Handles an error of a flow's socket, of which there is mostly one kind: the target refused a
    /// datagram that was sent before.
    fn reply_failed(&mut self, key: &SessionKey, error: &io::Error, waker: &Waker, now: Instant) {
        self.counters.count_drop(DropReason::Refused);
        match self.settings.on_refused {
            // The socket goes on.
            TargetLoss::Keep if is_refused(error) => waker.wake_by_ref(),
            TargetLoss::Drop => {
                self.leave(key, Cause::Refused, SessionState::Lost, now);
            }
            TargetLoss::Keep | TargetLoss::Repick => {
                let vacant = SessionState::Vacant { failed: None };
                let attempts = self.leave(key, Cause::Refused, vacant, now);
                self.counters.repicked.fetch_add(1, Relaxed);
                let session = self.table.peek(key, now).map(|session| &mut session.state);
                if let Some(SessionState::Vacant { failed }) = session {
                    *failed = attempts;
                }
            }
        }
    }
}

/// The counters and the endpoints must not count flows of a relay that was dropped.
impl<S> Drop for Flows<S> {
    fn drop(&mut self) {
        self.cut_off();
    }
}

/// Where the replies of a flow go.
struct Replies<'a> {
    to: &'a UdpSocket,
    client: SocketAddr,
    max: usize,
    counters: &'a Counters,
}

impl Replies<'_> {
    /// Relays a number of replies. Returns how many came, and the error that ended it.
    fn relay(
        &self,
        open: &mut OpenFlow,
        buffer: &mut Buffer,
        cx: &mut Context<'_>,
    ) -> (usize, Option<io::Error>) {
        for count in 0..REPLIES {
            match buffer.poll_reply(&open.socket.socket, cx) {
                Poll::Ready(Ok(reply)) => {
                    open.attempt.first_byte();
                    self.reply(reply);
                }
                Poll::Ready(Err(error)) => return (count, Some(error)),
                Poll::Pending => return (count, None),
            }
        }
        // There may be more, after the others.
        cx.waker().wake_by_ref();
        (REPLIES, None)
    }

    fn reply(&self, reply: &[u8]) {
        if reply.len() > self.max {
            return self.counters.count_drop(DropReason::TooLarge);
        }
        match socket::send_to(self.to, reply, self.client) {
            Ok(_) => self.counters.replied(reply.len()),
            Err(error) => self.counters.count_drop(drop_reason(&error)),
        }
    }
}
