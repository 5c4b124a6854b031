use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::UdpSocket, task::coop::unconstrained, time::Instant};
use tower_service::Service;

use super::{
    Datagram, TargetLoop, UdpResponderStatus, descriptors,
    ready::{EXPIRIES, Item, ReadyQueue},
    receive::{Buffer, MAX_DATAGRAM_BYTES, Received},
    socket::{self, drop_reason},
    status::{Counters, DropReason},
};
use crate::{
    BoxError, ConfigError,
    error::chain,
    flow::{FlowTable, FlowTableBuilder, Refusal, Removal},
    named::weak_status,
    outcome::{CallerError, Outcome},
    timer::Timer,
};

/// Sends each datagram of clients through a service, and the service's response back to the client.
///
/// The service is mostly a balancer of [`Exchange`](super::Exchange)s with a retry layer around it,
/// so that a request whose endpoint does not reply goes to another one. A request whose service
/// fails gets no reply: the client tries again, as it does when a datagram is lost.
///
/// ```no_run
/// use std::{net::SocketAddr, time::Duration};
/// use tokio::net::UdpSocket;
/// use tower::Layer;
/// use tower_lb::{
///     Balancer,
///     discover::{self, DiscoverExt},
///     outcome::{Following, OnResponse, ResultOnly},
///     retry::{RetryFailures, RetryLayer},
///     strategy::P2c,
///     udp::{Exchange, UdpResponder},
/// };
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let addresses: [SocketAddr; 2] = ["10.0.0.1:53".parse()?, "10.0.0.2:53".parse()?];
/// let servers = discover::addresses(addresses)
///     .connect(|&address| Exchange::dns(address).timeout(Duration::from_millis(400)));
/// let tracker = Following::new(OnResponse::new(ResultOnly));
/// let balancer = Balancer::builder().track(tracker).spawn(P2c::default(), servers)?;
/// let service = RetryLayer::builder(RetryFailures::default()).build()?.layer(balancer);
///
/// let socket = UdpSocket::bind("192.0.2.1:53").await?;
/// let responder = UdpResponder::builder().build(socket, service)?;
/// responder.serve(async { /* until this future is ready */ }).await?;
/// # Ok(()) }
/// ```
///
/// [`serve`](Self::serve) is a future that does all the work, in the task that polls it. Requests
/// are bounded in total and for each client; at a limit, a new one displaces the oldest.
pub struct UdpResponder<S> {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    service: S,
    buffer: Buffer,
    requests: FlowTable<Request, u64>,
    ready: Arc<ReadyQueue<u64>>,
    /// Kept for its memory.
    woken: Vec<Arc<Item<u64>>>,
    next_number: u64,
    timer: Timer,
    max_datagram_bytes: usize,
    counters: Arc<Counters>,
    is_stopping: bool,
}

/// A request in flight.
struct Request {
    client: SocketAddr,
    waker: Waker,
    /// `None` until the table has taken the request.
    exchange: Option<Exchanging>,
}

type Exchanging = Pin<Box<dyn Future<Output = Result<Bytes, BoxError>> + Send>>;

/// Configures a [`UdpResponder`].
#[derive(Clone, Debug)]
pub struct UdpResponderBuilder {
    name: Arc<str>,
    max_in_flight: Option<u32>,
    source_share: f64,
    timeout: Duration,
    max_datagram_bytes: usize,
}

/// Reads the status of a [`UdpResponder`].
#[derive(Clone, Debug)]
pub struct UdpResponderHandle {
    counters: Arc<Counters>,
    local: SocketAddr,
}

impl UdpResponder<()> {
    /// Returns the settings of a responder, all at their defaults.
    #[must_use]
    pub fn builder() -> UdpResponderBuilder {
        UdpResponderBuilder {
            name: "udp".into(),
            max_in_flight: None,
            source_share: 0.25,
            timeout: Duration::from_secs(5),
            max_datagram_bytes: MAX_DATAGRAM_BYTES,
        }
    }
}

impl UdpResponderBuilder {
    setters! {
        /// Sets the name in the status and in log events. Default `udp`.
        pub fn name(name: impl Into<Arc<str>>) => name = name.into();
        /// Sets how many requests are in flight at most. Each needs a socket with a port.
        ///
        /// Default 70 % of the process's limit of open files (`ulimit -n`) or of the ports in
        /// `net.ipv4.ip_local_port_range`, whichever is less, and at most 100 000. Several relays
        /// in one process share both.
        pub fn max_in_flight(requests: u32) => max_in_flight = Some(requests);
        /// Sets the share of `max_in_flight` that one client may have, above 0 and at most 1. A
        /// client is an IPv4 address, or an IPv6 network of 64 bits. Default 0.25.
        pub fn source_share(share: f64) => source_share = share;
        /// Sets how long a request may take, all attempts included. Default 5 s, after which most
        /// DNS clients try again.
        pub fn timeout(time: Duration) => timeout = time;
        /// Sets the longest payload in bytes of requests and replies. Longer ones are dropped.
        /// Default 65 507, the most that IPv4 can carry.
        pub fn max_datagram_bytes(bytes: usize) => max_datagram_bytes = bytes;
    }

    /// Builds a responder that receives on `socket`. Bind a socket for each address of the host, as
    /// for [`UdpRelayBuilder::build`](super::UdpRelayBuilder::build).
    ///
    /// # Errors
    ///
    /// If `timeout` is 0 or above ten years, if a number is out of range, if `max_in_flight`
    /// exceeds the process's limit of open files, or if the socket has no address.
    pub fn build<S>(self, socket: UdpSocket, service: S) -> Result<UdpResponder<S>, ConfigError> {
        let limit = descriptors::limit().unwrap_or(u64::MAX);
        let max = self.max_in_flight.unwrap_or_else(descriptors::default_max_flows);
        if max == 0 || u64::from(max) > limit {
            let expected = format!("1 to {limit}, the limit of open files");
            return Err(ConfigError::new("max_in_flight", expected).with_value(max));
        }
        FlowTableBuilder::check_timeout("timeout", self.timeout)?;
        let bytes = self.max_datagram_bytes;
        let is_valid = (1..=MAX_DATAGRAM_BYTES).contains(&bytes);
        ConfigError::unless(is_valid, "max_datagram_bytes", bytes, "1 to 65507")?;
        let no_address = |_| ConfigError::new("socket", "a socket that is bound to an address");
        let local = socket.local_addr().map_err(no_address)?;
        let table = FlowTable::builder().max_flows(max).source_share(self.source_share);
        Ok(UdpResponder {
            socket: Arc::new(socket),
            local,
            service,
            buffer: Buffer::new(),
            requests: table.idle_timeouts([self.timeout]).build_keyed()?,
            ready: ReadyQueue::new(),
            woken: Vec::new(),
            next_number: 0,
            timer: Timer::default(),
            max_datagram_bytes: self.max_datagram_bytes,
            counters: Arc::new(Counters::new(self.name)),
            is_stopping: false,
        })
    }
}

impl<S> UdpResponder<S> {
    /// Returns the address that the responder receives on.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Returns a handle, which is of use while the responder serves.
    #[must_use]
    pub fn handle(&self) -> UdpResponderHandle {
        UdpResponderHandle { counters: Arc::clone(&self.counters), local: self.local }
    }
}

impl<S> UdpResponder<S>
where
    S: Service<Datagram, Response = Bytes, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
{
    /// Responds to datagrams until `stop` is ready, and then to those that are in flight.
    ///
    /// # Errors
    ///
    /// If receiving on the socket fails. Errors of single requests are counted instead.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut stop = pin!(stop);
        // Each poll is bounded. tokio's budget is one for all sockets: replies would use it up, and
        // the clients' socket would get nothing.
        unconstrained(poll_fn(|cx| self.poll_serve(cx, stop.as_mut()))).await
    }

    fn poll_serve(
        &mut self,
        cx: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<()>> {
        let now = Instant::now();
        self.is_stopping = self.is_stopping || stop.poll(cx).is_ready();
        let expiring = self.expire(now);
        let polling = self.poll_woken(cx, now);
        if self.is_stopping && self.requests.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let receiving = !self.is_stopping && self.receive(cx, now)?;
        if expiring || polling || receiving || self.timer.is_due(self.requests.next_expiry(), cx) {
            // Other tasks get a turn first.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Gives requests up whose time is over. Returns true if there may be more.
    fn expire(&mut self, now: Instant) -> bool {
        for _ in 0..EXPIRIES {
            let Some((_, request)) = self.requests.pop_expired(now) else { return false };
            self.given_up(request, DropReason::Timeout);
        }
        true
    }

    /// Polls requests that were woken. Returns true if there are more.
    fn poll_woken(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        let mut woken = std::mem::take(&mut self.woken);
        let has_more = self.ready.take(cx.waker(), &mut woken);
        woken.drain(..).for_each(|item| self.poll_request(item.key, now));
        self.woken = woken;
        has_more
    }

    /// Receives a batch. Returns true if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        // The buffer is apart while the datagrams in it are handled.
        let (mut buffer, socket) = (std::mem::take(&mut self.buffer), Arc::clone(&self.socket));
        let receiving = buffer.receive(&socket, cx, |received| self.received(received, now));
        self.buffer = buffer;
        receiving
    }

    fn received(&mut self, Received { payload, from }: Received<'_>, now: Instant) {
        self.counters.received(payload.len());
        if from == self.local {
            return self.counters.count_drop(DropReason::Looping);
        }
        if payload.is_empty() {
            return self.counters.count_drop(DropReason::Empty);
        }
        if payload.len() > self.max_datagram_bytes {
            return self.counters.count_drop(DropReason::TooLarge);
        }
        if let Some(number) = self.admit(from, now) {
            let payload = Bytes::copy_from_slice(payload);
            self.begin(number, Datagram::new(payload, from, self.local), now);
        }
    }

    /// Takes a place for a request, before anything is allocated for it.
    fn admit(&mut self, client: SocketAddr, now: Instant) -> Option<u64> {
        self.next_number += 1;
        let number = self.next_number;
        let request = Request { client, waker: Waker::noop().clone(), exchange: None };
        match self.requests.insert(number, client.ip(), 0, request, now) {
            Ok(removed) => {
                self.counters.open.fetch_add(1, Relaxed);
                if let Some(removed) = removed {
                    let is_evicted = removed.cause == Removal::Evicted;
                    let reason =
                        if is_evicted { DropReason::Displaced } else { DropReason::Timeout };
                    self.given_up(removed.value, reason);
                }
                Some(number)
            }
            Err(refused) => {
                self.counters.count_drop(match refused.reason {
                    Refusal::SourceFull => DropReason::SourceFull,
                    Refusal::TableFull => DropReason::TableFull,
                });
                None
            }
        }
    }

    fn begin(&mut self, number: u64, datagram: Datagram, now: Instant) {
        let Some(request) = self.requests.peek(&number, now) else { return };
        let mut service = self.service.clone();
        request.waker = self.ready.waker(number, number);
        request.exchange = Some(Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(datagram).await.map_err(Into::into)
        }));
        self.poll_request(number, now);
    }

    fn poll_request(&mut self, number: u64, now: Instant) {
        let Some(Request { client, waker, exchange: Some(exchange) }) =
            self.requests.peek(&number, now)
        else {
            return;
        };
        let (result, client) = match exchange.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(result) => (result, *client),
            Poll::Pending => return,
        };
        self.requests.remove(&number);
        self.counters.open.fetch_sub(1, Relaxed);
        match result {
            Ok(reply) => self.reply(&reply, client),
            Err(error) => self.counters.count_drop(failure(&error)),
        }
    }

    fn reply(&self, reply: &[u8], client: SocketAddr) {
        if reply.len() > self.max_datagram_bytes {
            return self.counters.count_drop(DropReason::TooLarge);
        }
        match socket::send_to(&self.socket, reply, client) {
            Ok(_) => self.counters.replied(reply.len()),
            Err(error) => self.counters.count_drop(drop_reason(&error)),
        }
    }

    fn given_up(&self, request: Request, reason: DropReason) {
        // The attempt in it counts as cancelled.
        drop(request);
        self.counters.open.fetch_sub(1, Relaxed);
        self.counters.count_drop(reason);
    }
}

/// The counters must not count requests of a responder that was dropped.
impl<S> Drop for UdpResponder<S> {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(self.requests.len() as u64, Relaxed);
    }
}

/// Returns why a request got no reply.
fn failure(error: &BoxError) -> DropReason {
    let error = &**error;
    if chain(error).any(|error| error.is::<TargetLoop>()) {
        return DropReason::Looping;
    }
    if chain(error).any(|error| error.is::<CallerError>()) {
        return DropReason::NoSocket;
    }
    if crate::Error::find(error).is_some_and(crate::Error::is_unsent) {
        return DropReason::Unavailable;
    }
    match Outcome::of_error(error) {
        Outcome::Timeout => DropReason::Timeout,
        _ => DropReason::Failed,
    }
}

impl UdpResponderHandle {
    /// Returns what the responder has done so far.
    #[must_use]
    pub fn status(&self) -> UdpResponderStatus {
        self.counters.responder_status()
    }

    /// Returns a function that reads the status until the responder and its handles are dropped.
    pub(crate) fn weak_status(
        &self,
    ) -> impl Fn() -> Option<UdpResponderStatus> + Send + Sync + use<> {
        weak_status(&self.counters, Counters::responder_status)
    }

    /// Returns the address of what all handles of the responder share.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.counters).cast()
    }

    /// Returns the address that the responder receives on.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl<S> fmt::Debug for UdpResponder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpResponder")
            .field("local", &self.local)
            .field("status", &self.counters.responder_status())
            .finish_non_exhaustive()
    }
}
