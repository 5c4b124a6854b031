use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::runtime::Handle;

use super::{
    ClassicHealthCheck, ClassicListener, ClassicLoadBalancer, ClassicProtocol, HealthTarget,
    plan::{Plan, Settings},
};
use crate::{
    BoxError, ConfigError,
    discover::{Discover, DiscoverExt, Erased},
    endpoint::Locality,
    http::Tls,
    listener::ListenError,
};

/// Configures a [`ClassicLoadBalancer`].
///
/// The settings have the ranges of AWS; see [`unrestricted`](Self::unrestricted).
pub struct ClassicLoadBalancerBuilder {
    name: Arc<str>,
    listeners: Vec<ClassicListener>,
    sources: Vec<Erased<Arc<str>, IpAddr>>,
    health_check: Option<ClassicHealthCheck>,
    settings: Settings,
    instance_tls: Option<Tls>,
    is_restricted: bool,
}

impl ClassicLoadBalancerBuilder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            listeners: Vec::new(),
            sources: Vec::new(),
            health_check: None,
            settings: Settings::default(),
            instance_tls: None,
            is_restricted: true,
        }
    }

    /// Adds a listener. At least one is needed.
    #[must_use]
    pub fn listener(mut self, listener: ClassicListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Adds the instances of a discovery stream. At least one stream is needed; if several have the
    /// same key, the first of them has the instance. A target is an IP address; for other
    /// addresses, map them with [`map_endpoints`](DiscoverExt::map_endpoints). The key names an
    /// instance in figures and, in hashed form, in session cookies.
    #[must_use]
    pub fn instances<D>(mut self, source: D) -> Self
    where
        D: Discover + Send + 'static,
        D::Key: fmt::Display + Send + 'static,
        D::Target: Into<IpAddr> + Send + 'static,
        D::Error: Into<BoxError>,
    {
        let source = source.map_endpoints(|_, endpoint| endpoint.map(Into::into));
        self.sources.push(source.map_keys(|key| Arc::from(key.to_string())).erase());
        self
    }

    setters! {
        /// Sets how instances are checked. Default `TCP` on the instance port of the first
        /// listener, as AWS's API does.
        pub fn health_check(check: ClassicHealthCheck) => health_check = Some(check);
        /// Ends a connection on which nothing moves for `timeout`, and fails an HTTP request with
        /// status 504 whose instance takes no part in it for that time: `ConnectionSettings`. A
        /// request waits for as long in the surge queue, and a connection to an instance without a
        /// request stays open for as long. Default 60 s; from 1 to 4000 s.
        pub fn idle_timeout(timeout: Duration) => settings.idle_timeout = timeout;
        /// Lets instances that are removed finish their requests and connections within `timeout`:
        /// `ConnectionDraining`. TCP connections that are open then are reset. Default off, which
        /// resets TCP connections at once; from 1 to 3600 s.
        ///
        /// Where this differs: HTTP requests in flight may finish in any case. An unhealthy
        /// instance keeps its connections, as at AWS.
        pub fn connection_draining(timeout: Duration) => settings.draining = Some(timeout);
        /// Sets the zone that this load balancer runs in. Instances have the zones of their
        /// [localities](crate::endpoint::Endpoint::with_locality). Default none.
        pub fn zone(zone: Locality) => settings.zone = Some(zone);
        /// Sets whether requests go to the instances of all zones: `CrossZoneLoadBalancing`.
        /// Default `false`: they go to those in [`zone`](Self::zone), and fail if none is in
        /// service there. Has no effect without `zone`.
        pub fn cross_zone(enabled: bool) => settings.cross_zone = enabled;
        /// Limits the requests, or TCP connections, that an instance has from one listener at a
        /// time. Further ones wait in the surge queue. Default 1024; at least 1. AWS has no such
        /// limit.
        pub fn max_requests_per_instance(requests: u32) => settings.max_per_instance = requests;
        /// Limits the requests, or TCP connections, of a listener that wait for an instance.
        /// Further ones are rejected and counted as spillover. Default 1024, which is fixed at AWS.
        pub fn surge_queue(requests: usize) => settings.surge_queue = requests;
        /// Limits the time to open a connection to an instance, with its TLS handshake. Another
        /// instance is tried then, up to two more. Default 5 s. AWS does not document its limit.
        pub fn connect_timeout(timeout: Duration) => settings.connect_timeout = timeout;
        /// Believes the `X-Forwarded-` fields that clients in these networks send, and appends to
        /// their `X-Forwarded-For`. Fields of others are removed. Default none. AWS appends to what
        /// any client sends.
        pub fn trusted_networks(networks: impl IntoIterator<Item = IpNet>)
            => settings.trusted_networks = networks.into_iter().collect();
        /// Sets how certificates of instances are verified, for HTTPS and SSL: back-end
        /// authentication. Default: any certificate is accepted, as at AWS without a policy. A
        /// later [`Tls::replace`] has an effect on HTTPS only.
        pub fn instance_tls(tls: Tls) => instance_tls = Some(tls);
    }

    /// Accepts times and numbers outside of AWS's ranges, such as health checks each second.
    /// Default: they are errors.
    #[must_use]
    pub fn unrestricted(mut self) -> Self {
        self.is_restricted = false;
        self
    }

    /// Opens the sockets of the listeners. Connections queue from here on until
    /// [`serve`](ClassicLoadBalancer::serve).
    ///
    /// # Errors
    ///
    /// If a setting is out of range or contradicts another one, if there is no listener or no
    /// stream of instances, if instances are encrypted and there is no crypto provider of rustls,
    /// if an address cannot be bound, or outside a tokio runtime.
    pub fn bind(mut self) -> Result<ClassicLoadBalancer, ListenError> {
        let health_check = self.validate()?;
        if Handle::try_current().is_err() {
            return Err(ConfigError::new("bind", "a call inside a Tokio runtime").into());
        }
        self.settings.instance_tls = self.tls_of_instances(&health_check)?;
        let (source, plan) = Plan::new(self.name, self.sources, &health_check, self.settings)?;
        let nodes = self.listeners.iter().map(|listener| plan.node(listener));
        let nodes = nodes.collect::<Result<Vec<_>, ListenError>>()?;
        Ok(ClassicLoadBalancer::new(plan, nodes, source))
    }

    /// Returns the health check to use.
    fn validate(&self) -> Result<ClassicHealthCheck, ConfigError> {
        let Some(first) = self.listeners.first() else {
            return Err(ConfigError::new("listener", "at least one"));
        };
        if self.sources.is_empty() {
            return Err(ConfigError::new("instances", "at least one stream"));
        }
        let mut addresses = BTreeSet::new();
        for listener in &self.listeners {
            let within =
                |error: ConfigError| error.within(&format!("listener.{}", listener.address));
            listener.validate().map_err(within)?;
            if listener.address.port() != 0 && !addresses.insert(listener.address) {
                let error = ConfigError::new("address", "an address that no other listener has");
                return Err(within(error));
            }
        }
        self.settings.validate(self.is_restricted)?;
        let by_default = || ClassicHealthCheck::new(HealthTarget::tcp(first.instance_port));
        let check = self.health_check.clone().unwrap_or_else(by_default);
        check.validate(self.is_restricted).map_err(|error| error.within("health_check"))?;
        Ok(check)
    }

    /// Returns how TLS is spoken to instances, if any listener or the check does.
    fn tls_of_instances(&self, check: &ClassicHealthCheck) -> Result<Option<Tls>, ConfigError> {
        let mut protocols = self.listeners.iter().map(|listener| listener.instance_protocol);
        if !check.is_encrypted() && !protocols.any(ClassicProtocol::is_encrypted) {
            return Ok(None);
        }
        match &self.instance_tls {
            Some(tls) => Ok(Some(tls.clone())),
            None => {
                let tls = Tls::builder().without_verification().build();
                tls.map(Some).map_err(|error| error.within("instance_tls"))
            }
        }
    }
}

impl fmt::Debug for ClassicLoadBalancerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassicLoadBalancerBuilder")
            .field("name", &self.name)
            .field("listeners", &self.listeners)
            .field("health_check", &self.health_check)
            .finish_non_exhaustive()
    }
}
