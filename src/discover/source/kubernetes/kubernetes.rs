use std::{fmt::Display, str::FromStr, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{api::SlicesApi, slice::Selection, watch::Watch};
use crate::{
    ConfigError, ParseError,
    discover::{
        AddressFilter, HttpApi, Refresh, Schedule, refresh, source::http_api::percent_encode,
    },
};

/// A source of endpoints from Kubernetes: the EndpointSlices of a service (`discovery.k8s.io/v1`),
/// listed and watched.
///
/// | EndpointSlice | endpoint |
/// |---|---|
/// | address and port | the key and the target, `address:port` |
/// | `ready`, or no such condition | healthy |
/// | not `ready`, `terminating` | draining |
/// | not `ready` | unhealthy |
/// | `zone` | the locality, with the configured [`region`](Self::region) |
/// | pod, node, hints | metadata: `kubernetes.pod`, `kubernetes.node`, `kubernetes.hints` |
///
/// All slices of the service form one set. An endpoint can occur in several slices while they are
/// rearranged; it is used once, and is healthy if it is in one of them. The API server sends each
/// change at once. A watch resumes after a timeout or a lost connection. If the server no longer
/// has the last version (410 Gone), all slices are listed again. If the API server can't be
/// reached, no endpoint changes.
///
/// The default client speaks plain HTTP only, for example to `kubectl proxy`. In a cluster, set a
/// [client](HttpApi::client) that uses TLS and adds the service account's token, which changes
/// every hour.
///
/// ```no_run
/// use tower_lb::discover::Kubernetes;
///
/// let endpoints = Kubernetes::new("http://127.0.0.1:8001")?
///     .namespace("shop")
///     .port("http")
///     .service::<std::net::SocketAddr>("web")?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Kubernetes {
    api: HttpApi,
    namespace: String,
    selection: Selection,
    watch_for: Duration,
    schedule: Schedule,
}

impl Kubernetes {
    /// Creates a source from the API server's URL, or from an [`HttpApi`] for headers or another
    /// client. The namespace is `default`.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if the URL is not absolute.
    pub fn new(api: impl TryInto<HttpApi, Error: Into<ParseError>>) -> Result<Self, ParseError> {
        Ok(Self {
            api: api.try_into().map_err(Into::into)?,
            namespace: "default".to_owned(),
            selection: Selection::default(),
            watch_for: Duration::from_secs(290),
            schedule: Schedule::new().floor(Duration::from_millis(100)),
        })
    }

    setters! {
        /// Sets the service's namespace. Default `default`.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();
        /// Sets the name of the port. Default the first TCP port of each slice; ports of other
        /// protocols are never used. A slice without such a port is left out with a warning.
        pub fn port(name: impl Into<String>) => selection.port = Some(name.into());
        /// Sets the region of the zones. Default an empty name.
        pub fn region(region: impl Into<String>) => selection.region = region.into();
        /// Applies topology hints for a client in this zone, by kube-proxy's rules: only the
        /// endpoints with a hint for the zone are used, if all ready endpoints have hints and at
        /// least one is for the zone. By default hints are ignored.
        pub fn hints_for_zone(zone: impl Into<String>) => selection.zone = Some(zone.into());
        /// Sets which IP addresses may be endpoints. Others are left out with a warning. Default
        /// [`AddressFilter::new`].
        pub fn address_filter(filter: AddressFilter) => selection.filter = filter;
        /// Sets how long the API server is asked to keep a watch open. Default 290 s. A watch that
        /// is silent for 30 s longer is closed. Fractions of seconds are cut off; at least 1 s.
        pub fn watch_for(time: Duration) => watch_for = time;
        /// Sets the delay between changes (the floor) and after errors. The timeout applies to the
        /// list and to the start of a watch. Default [`Schedule::new`] with a floor of 100 ms.
        pub fn schedule(schedule: Schedule) => schedule = schedule;
    }

    /// Returns the source of a service. Addresses, `address:port`, are parsed as `T`. Endpoints
    /// whose address can't be parsed are left out with a warning. It is an error if no endpoint is
    /// left.
    ///
    /// At most 20 000 slices with 500 000 endpoints and 256 MiB of JSON are read, in at most 1000
    /// pages. More is an error, and the endpoints stay as they are.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn service<T>(&self, name: &str) -> Result<Refresh<String, T>, ConfigError>
    where
        T: FromStr<Err: Display> + Send + 'static,
    {
        let source: Arc<str> = format!("kubernetes service {}/{name}", self.namespace).into();
        let path = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector={}",
            percent_encode(&self.namespace),
            percent_encode(&format!("kubernetes.io/service-name={name}")),
        );
        let api = SlicesApi::new(self.api.clone(), path, self.schedule.timeout);
        let watch = Arc::new(Mutex::new(Watch::new(api, self.watch_for)));
        let selection = self.selection.clone();
        // A poll lasts until something changes, so only the requests have a timeout.
        let schedule = self.schedule.clone().timeout(None);
        refresh(Arc::clone(&source), schedule, move || {
            let (watch, selection) = (Arc::clone(&watch), selection.clone());
            let source = Arc::clone(&source);
            async move { watch.lock().await.next(&source, &selection).await }
        })
    }
}
