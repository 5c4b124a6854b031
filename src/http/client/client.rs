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

/// A pooled client for one endpoint, made by [`Pool`]: hyper-util's, sending to the endpoint's origin.
pub type Client<B> = SetOrigin<legacy::Client<HttpConnector, B>>;

/// Makes a [`Client`] for each endpoint: connections are made when first needed and pooled per
/// endpoint, and closed when the endpoint is removed and its requests are done.
///
/// Plain HTTP/1.1 by default. For TLS, connect endpoints with a client of your own, wrapped in
/// [`SetOrigin`].
#[derive(Clone, Debug)]
pub struct Pool {
    http2: bool,
    connect_timeout: Duration,
    idle_timeout: Duration,
    max_idle: usize,
    host: HostHeader,
}

impl Pool {
    /// HTTP/1.1, 5 s to connect, connections closed after 90 s without use, 32 idle ones per
    /// endpoint at the most, `Host` headers kept.
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

    /// Speaks HTTP/2 from the start (prior knowledge), one connection per endpoint. Default
    /// HTTP/1.1.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// How long connecting may take. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a connection may be idle before it is closed. Default 90 s.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How many idle connections are kept per endpoint. Default 32.
    #[must_use]
    pub fn max_idle(mut self, connections: usize) -> Self {
        self.max_idle = connections;
        self
    }

    /// What becomes of a request's `Host` header. Default [`HostHeader::Keep`].
    #[must_use]
    pub fn host_header(mut self, host: HostHeader) -> Self {
        self.host = host;
        self
    }

    /// A client for one endpoint.
    #[must_use]
    pub fn client<B>(&self, origin: Origin) -> Client<B>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if origin.scheme() == &Scheme::HTTPS {
            tracing::warn!(origin = %Escaped(&origin), "this client speaks no TLS, each request will fail");
        }
        SetOrigin::new(self.build(), origin).host_header(self.host.clone())
    }

    fn build<B>(&self) -> legacy::Client<HttpConnector, B>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
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

    /// A [probe](load_probe) with a client of its own, for [`Probed`](crate::strategy::Probed).
    pub fn load_probe(
        self,
        path: Uri,
    ) -> impl Fn(&Candidate) -> BoxFuture<'static, Result<LoadReport, BoxError>> + Clone {
        load_probe(self.build::<String>(), path)
    }

    /// A function that makes clients, for [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    pub fn connector<B>(&self) -> impl Fn(&Origin) -> Client<B> + Clone + use<B>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let pool = self.clone();
        move |origin| pool.client(origin.clone())
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}
