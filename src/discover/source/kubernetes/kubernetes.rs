use std::{
    fmt::{self, Display},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use tokio::sync::Mutex;
use tower_service::Service;

use super::{slice::Choice, watch::Watch};
use crate::{
    BoxError,
    discover::{
        AddressFilter, InvalidSchedule, InvalidUrl, Refresh, Schedule, refresh,
        source::http_api::{Transport, absolute, escape},
    },
};

/// Endpoints from Kubernetes: the EndpointSlices of a service (`discovery.k8s.io/v1`), listed and
/// watched.
///
/// | EndpointSlice | here |
/// |---|---|
/// | address and port | the key and the target, `address:port` |
/// | `ready`, neither | healthy, unhealthy |
/// | `terminating` | draining |
/// | `zone` | the locality, with the [`region`](Self::region) that is set |
/// | pod, node, hints | metadata: `kubernetes.pod`, `kubernetes.node`, `kubernetes.hints` |
///
/// All slices of the service are one set. An endpoint that occurs in several, as happens while they
/// are rearranged, is taken once, healthy if it is so in one of them. A change arrives when the API
/// server tells it; the watch goes on where it was after a time-out or a lost connection, and all
/// is listed anew if the server has forgotten what was there (410 Gone). If the API server can't be
/// reached, no endpoint changes.
///
/// Only plain HTTP is spoken by itself, to `kubectl proxy` for example. In a cluster, hand over a
/// [`client`](Self::client) that does TLS and adds the service account's token, which
/// changes every hour.
///
/// ```no_run
/// use tower_lb::discover::Kubernetes;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoints = Kubernetes::new("http://127.0.0.1:8001")?
///     .namespace("shop")
///     .port("http")
///     .service::<std::net::SocketAddr>("web")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Kubernetes {
    url: String,
    namespace: String,
    headers: HeaderMap,
    choice: Choice,
    watch_for: Duration,
    schedule: Schedule,
    transport: Transport,
}

impl Kubernetes {
    /// The API server at this URL, by a plain HTTP client on hyper-util; namespace `default`.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`] if it is not absolute.
    pub fn new(url: impl Into<String>) -> Result<Self, InvalidUrl> {
        Ok(Self {
            url: absolute(&url.into())?,
            namespace: "default".to_owned(),
            headers: HeaderMap::new(),
            choice: Choice::default(),
            watch_for: Duration::from_secs(290),
            schedule: Schedule::new().floor(Duration::from_millis(100)),
            transport: Transport::plain(),
        })
    }

    /// Sends requests by this service, for TLS and authentication.
    #[must_use]
    pub fn client<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.transport = Transport::new(service);
        self
    }

    /// The service's namespace. Default `default`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The name of the port. Default the first of each slice.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.choice.port = Some(name.into());
        self
    }

    /// The region that the zones are in. Default none, an empty name.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.choice.region = region.into();
        self
    }

    /// Heeds topology hints for a client in this zone, by kube-proxy's rules: only the endpoints
    /// hinted for the zone, if all that are ready have hints and some are for this zone. Default
    /// hints are not heeded.
    #[must_use]
    pub fn hints_for_zone(mut self, zone: impl Into<String>) -> Self {
        self.choice.zone = Some(zone.into());
        self
    }

    /// Which IP addresses may be endpoints. Others are left out with a warning. Default
    /// [`AddressFilter::new`].
    #[must_use]
    pub fn address_filter(mut self, filter: AddressFilter) -> Self {
        self.choice.filter = filter;
        self
    }

    /// Adds a header to the requests.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// For how long the API server is asked to keep one watch open. Default 290 s; a watch that
    /// says nothing for 30 s longer is given up. Fractions of seconds are cut off.
    #[must_use]
    pub fn watch_for(mut self, time: Duration) -> Self {
        self.watch_for = time;
        self
    }

    /// How soon to take in the next changes (the floor) and to try again after errors; the timeout
    /// is for the list and for the beginning of a watch. Default [`Schedule::new`], with a floor of
    /// 100 ms.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The endpoints of a service. Addresses, `address:port`, are parsed as `T`; what can't be
    /// parsed is left out with a warning. If that is all of them, it is an error.
    ///
    /// At most 20 000 slices with 500 000 endpoints and 256 MiB of JSON are taken, in at most 1000
    /// pages. More is an error, and the endpoints stay as they were.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] if the schedule can't be kept.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, InvalidSchedule>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let source = format!("kubernetes service {}/{name}", self.namespace);
        let url = format!(
            "{}/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector={}",
            self.url,
            escape(&self.namespace),
            escape(&format!("kubernetes.io/service-name={name}")),
        );
        let limit = self.schedule.timeout;
        let watch = Watch::new(url, self.headers.clone(), self.transport.clone());
        let watch = watch.times(limit, self.watch_for);
        let (watch, choice) = (Arc::new(Mutex::new(watch)), self.choice.clone());
        let name: Arc<str> = source.into();
        let schedule = self.schedule.clone().timeout(None);
        // Watching takes as long as nothing happens.
        refresh(Arc::clone(&name), schedule, move || {
            let (watch, choice, name) = (Arc::clone(&watch), choice.clone(), Arc::clone(&name));
            async move { watch.lock().await.next(&name, &choice).await }
        })
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets.
        f.debug_struct("Kubernetes")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("choice", &self.choice)
            .field("watch_for", &self.watch_for)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
