use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use http::uri::Scheme;
use http_body::Body;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{
    BoxError,
    escape::Escaped,
    http::{HostHeader, Origin, SetOrigin, load_probe},
    outcome::LoadReport,
    strategy::Candidate,
};

/// A pooled hyper-util client that sends requests to the origin of one endpoint; made by [`Pool`].
pub type Client<B> = SetOrigin<legacy::Client<HttpConnector, B>>;

/// Creates a [`Client`] for each endpoint.
///
/// Each client opens connections on demand and pools them. It closes them when the endpoint has
/// been removed and its requests have ended. Plain HTTP/1.1 by default. For TLS, connect endpoints
/// with a client of your own, wrapped in [`SetOrigin`].
#[derive(Clone, Debug)]
pub struct Pool {
    http2: bool,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_idle: usize,
    host: HostHeader,
}

impl Pool {
    /// Uses HTTP/1.1, 5 s to connect, at most 32 idle connections per endpoint, which are closed
    /// after 90 s, and keeps `Host` headers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            http2: false,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(90),
            max_idle: 32,
            host: HostHeader::default(),
        }
    }

    /// Uses HTTP/2 with prior knowledge, and one connection per endpoint. Default HTTP/1.1.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    setters! {
        /// Limits the time of a connection attempt. Default 5 s.
        pub fn connect_timeout(timeout: Duration) => connect_timeout = timeout;
        /// Sets how long a connection may be idle before it is closed. Default 90 s.
        pub fn idle_timeout(timeout: Duration) => idle_timeout = timeout;
        /// Limits the idle connections that are kept per endpoint. Default 32.
        pub fn max_idle(connections: usize) => max_idle = connections;
        /// Sets the `Host` header of requests. Default [`HostHeader::Keep`].
        pub fn host_header(host: HostHeader) => host = host;
    }

    /// Creates a client for the endpoint at `origin`.
    #[must_use]
    pub fn client<B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static>(
        &self,
        origin: Origin,
    ) -> Client<B> {
        if origin.scheme() == &Scheme::HTTPS {
            tracing::warn!(
                origin = %Escaped(&origin),
                "the client does not support TLS; requests to the origin will fail"
            );
        }
        SetOrigin::new(self.build(), origin).host_header(self.host.clone())
    }

    fn build<B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static>(
        &self,
    ) -> legacy::Client<HttpConnector, B> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(self.connect_timeout));
        legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.max_idle)
            .http2_only(self.http2)
            .build(connector)
    }

    /// Returns a [`load_probe`] with a client of its own, for [`Probed`](crate::strategy::Probed).
    pub fn load_probe(
        self,
        path: Uri,
    ) -> impl Fn(&Candidate) -> BoxFuture<'static, Result<LoadReport, BoxError>> + Clone {
        load_probe(self.build::<String>(), path)
    }

    /// Returns a function that creates clients, for
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    pub fn connector<B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static>(
        &self,
    ) -> impl Fn(&Origin) -> Client<B> + Clone + use<B> {
        let pool = self.clone();
        move |origin| pool.client(origin.clone())
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}
