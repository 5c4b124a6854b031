use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, uri::Scheme};
use http_body::Body;
use tokio::time::Instant;

use super::{
    client::Client,
    message::Target,
    status::{Counters, PoolStatus},
};
use crate::{
    BoxError, ParseError,
    http::{HostHeader, Origin, load::ask},
    named::weak_status,
    outcome::LoadReport,
    request_path::request_path,
    rng::Rng,
    strategy::Candidate,
    sync::{Mutex, lock},
};

/// Creates a [`Client`] for each endpoint: a pool of connections to that endpoint.
///
/// A client opens connections on demand. Each connection is driven by a task of its own, started
/// with [`tokio::spawn`]; there is no other task. When the last clone of a client is dropped, its
/// idle connections close, and the others when their requests end.
///
/// # Connections
///
/// - **HTTP/1.1** is the default for `http`. The connection that was used last is used first.
/// - **HTTP/2** by [prior knowledge](Self::http2). Requests share a connection, and another one is
///   opened when it is full. A connection that the endpoint closes by GOAWAY takes no new requests,
///   and its streams end.
/// - For `https`, set `tls` (feature `tls`). The endpoint selects HTTP/2 or HTTP/1.1 by ALPN.
///
/// If an endpoint closes a kept connection just as a request is about to be written to it, the
/// request is sent on another connection, whatever its method, because nothing of it was sent.
///
/// # Waiting
///
/// A client is always ready. A request waits while the connections are busy and
/// [`max_connections`](Self::max_connections) allows no other. It is served in the order of
/// arrival, and it may be cancelled. Use a [limit](crate::limit) or a timeout around the client to
/// bound the time of the wait; [`max_waiting`](Self::max_waiting) bounds the number of requests.
///
/// If a connection cannot be opened, one waiting request fails. If no other connection is open, all
/// of them fail.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(super) protocol: Option<Protocol>,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) max_idle: usize,
    pub(super) max_connections: usize,
    pub(super) max_streams: usize,
    pub(super) max_waiting: usize,
    pub(super) max_response_head: Option<usize>,
    pub(super) keep_alive: Duration,
    max_connection_age: Option<Duration>,
    host: HostHeader,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Tls>,
    /// Shared with all clones.
    pub(super) counters: Arc<Counters>,
}

/// The protocols of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What a header field takes besides its name and its value: a colon, a space, a line break.
const FIELD_BYTES: usize = 4;
/// The least that hyper accepts.
const MIN_RESPONSE_HEAD: usize = 8 << 10;
/// The part by which the age of a connection varies.
const AGE_JITTER: f64 = 0.1;

impl Pool {
    /// Uses 5 s to connect and at most 32 idle connections per endpoint, which are closed after
    /// 90 s, and keeps `Host` headers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            protocol: None,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            max_idle: 32,
            max_connections: usize::MAX,
            max_streams: usize::MAX,
            max_waiting: 1024,
            max_response_head: None,
            keep_alive: Duration::from_secs(20),
            max_connection_age: None,
            host: HostHeader::default(),
            #[cfg(feature = "tls")]
            tls: None,
            counters: Arc::new(Counters::new()),
        }
    }

    /// Sets the name in the [status](Self::status), also for clones. Default "pool".
    #[must_use]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        self.counters.name.set(name.into());
        self
    }

    /// Returns the connections of all clones of this pool and their clients.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        self.counters.status()
    }

    /// Returns the address of what the pool shares with its clones.
    pub(crate) fn address(&self) -> *const () {
        Arc::as_ptr(&self.counters).cast()
    }

    /// Returns a function that reads the status until the pool and its clients are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<PoolStatus> + Send + Sync + use<> {
        weak_status(&self.counters, Counters::status)
    }

    /// Uses HTTP/2 only, for `http` with prior knowledge.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.protocol = Some(Protocol::Http2);
        self
    }

    /// Uses HTTP/1.1 only, also for `https`.
    #[must_use]
    pub fn http1(mut self) -> Self {
        self.protocol = Some(Protocol::Http1);
        self
    }

    #[cfg(feature = "tls")]
    setters! {
        /// Sets how connections to `https` origins are secured. By default, requests to them fail.
        pub fn tls(tls: super::tls::Tls) => tls = Some(tls);
    }

    setters! {
        /// Limits the time to open a connection: to resolve the host, for TCP and for TLS. Default
        /// 5 s.
        pub fn connect_timeout(timeout: Duration) => connect_timeout = timeout;
        /// Sets how long a connection may be idle before it is closed. Default 90 s.
        pub fn idle_timeout(timeout: Duration) => idle_timeout = timeout;
        /// Limits the idle HTTP/1.1 connections that are kept per endpoint. Default 32.
        pub fn max_idle(connections: usize) => max_idle = connections;
        /// Limits the connections per endpoint, including those that are being opened. Default
        /// none.
        pub fn max_connections(connections: NonZeroUsize) => max_connections = connections.get();
        /// Limits the concurrent requests per HTTP/2 connection, in addition to the endpoint's own
        /// limit. A request is one until its response body ends. Default none.
        pub fn max_streams_per_connection(streams: NonZeroUsize) => max_streams = streams.get();
        /// Limits the requests per endpoint that wait for a connection, also for one that is being
        /// opened. Another one fails with
        /// [`ClientErrorKind::Busy`](crate::http::ClientErrorKind::Busy). Default 1024.
        pub fn max_waiting(requests: NonZeroUsize) => max_waiting = requests.get();
        /// Limits the head of a response in bytes; a longer one fails the request. Less than 8 KiB
        /// counts as 8 KiB. Default that of hyper: 400 KiB on HTTP/1.1, 16 KiB on HTTP/2.
        pub fn max_response_head(bytes: usize)
            => max_response_head = Some(bytes.max(MIN_RESPONSE_HEAD));
        /// Sets how often the endpoint of an HTTP/2 connection with open streams is sent a ping. If
        /// it does not answer within 10 s, the connection closes. Zero sends none. Default 20 s.
        pub fn keep_alive(interval: Duration) => keep_alive = interval;
        /// Limits the age of a connection. An older one takes no new requests, so that a change of
        /// certificates or of the machines behind an address takes effect. The age of each varies
        /// by a tenth, so that they do not end together. Default none.
        pub fn max_connection_age(age: Duration) => max_connection_age = Some(age);
        /// Sets the host that requests name. Default [`HostHeader::Keep`].
        pub fn host_header(host: HostHeader) => host = host;
    }

    /// Creates a client for the endpoint at `origin`.
    #[must_use]
    pub fn client<B>(&self, origin: Origin) -> Client<B>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let target = Target::new(origin, self.host.clone());
        Client::new(self.clone(), target)
    }

    /// Returns a [`load_probe`](crate::http::load_probe) with clients of its own, for
    /// [`Probed`](crate::strategy::Probed).
    ///
    /// # Errors
    ///
    /// [`ParseError`] if `path` is not a path that starts with a slash.
    pub fn load_probe(
        self,
        path: &str,
    ) -> Result<
        impl Fn(&Candidate) -> BoxFuture<'static, Result<LoadReport, BoxError>> + Clone + use<>,
        ParseError,
    > {
        let path = request_path(path)?;
        let clients = Arc::new(Mutex::new(HashMap::<String, Client<String>>::new()));
        Ok(move |endpoint: &Candidate| -> BoxFuture<'static, _> {
            let (path, name) = (path.clone(), endpoint.name());
            let mut clients = lock(&clients);
            let client = match clients.get(name) {
                Some(client) => Ok(client.clone()),
                None => name.parse().map(|origin| {
                    // Endpoints that are gone have no connections after the idle timeout.
                    clients.retain(|_, client| client.is_connected());
                    let client = self.client(origin);
                    clients.insert(name.to_owned(), client.clone());
                    client
                }),
            };
            Box::pin(async move { ask(client?, path).await })
        })
    }

    /// Returns a function that creates clients, for
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    pub fn connector<B>(&self) -> impl Fn(&Origin) -> Client<B> + Clone + use<B>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let pool = self.clone();
        move |origin| pool.client(origin.clone())
    }

    /// Returns the protocol of connections to an origin, unless it is negotiated.
    pub(super) fn prior_knowledge(&self, origin: &Origin) -> Option<Protocol> {
        match self.protocol {
            None if origin.scheme() != &Scheme::HTTPS => Some(Protocol::Http1),
            set => set,
        }
    }

    /// Returns whether the header fields of a response exceed the limit. Hyper's own limit is that
    /// of a buffer, and a read may exceed it.
    pub(super) fn is_head_too_large(&self, headers: &HeaderMap) -> bool {
        let Some(limit) = self.max_response_head else { return false };
        let size = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + FIELD_BYTES
        };
        headers.iter().map(size).sum::<usize>() > limit
    }

    /// Returns the end of the age of a connection that is opened now.
    pub(super) fn retire_at(&self) -> Option<Instant> {
        let age = self.max_connection_age?;
        let jitter = 1.0 + AGE_JITTER * (2.0 * Rng::from_entropy().unit() - 1.0);
        // An age beyond the clock is no limit.
        let age = Duration::try_from_secs_f64(age.as_secs_f64() * jitter).ok()?;
        Instant::now().checked_add(age)
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}
