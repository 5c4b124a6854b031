use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use ipnet::IpNet;

use super::{
    ClassicHealthCheck, ClassicListener, http_listener, load_balancer::Node, tcp_listener,
};
use crate::{
    ConfigError,
    balance::Builder,
    discover::{self, Broadcast, DiscoverExt, Erased},
    endpoint::Locality,
    health::{CheckFigures, Draining, HealthExt},
    http::{Origin, Tls},
    listener::{ListenError, Listener, ListenerBuilder},
    strategy::{CrossZone, Dynamic, Pick, Strategy, ZoneAware},
};

/// The settings that all listeners share.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) idle_timeout: Duration,
    pub(super) draining: Option<Duration>,
    pub(super) zone: Option<Locality>,
    pub(super) cross_zone: bool,
    pub(super) max_per_instance: u32,
    pub(super) surge_queue: usize,
    pub(super) connect_timeout: Duration,
    pub(super) trusted_networks: Vec<IpNet>,
    /// Set if instances or checks are encrypted.
    pub(super) instance_tls: Option<Tls>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(60),
            draining: None,
            zone: None,
            cross_zone: false,
            max_per_instance: 1024,
            surge_queue: 1024,
            connect_timeout: Duration::from_secs(5),
            trusted_networks: Vec::new(),
            instance_tls: None,
        }
    }
}

impl Settings {
    pub(super) fn validate(&self, is_restricted: bool) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("idle_timeout", self.idle_timeout)?;
        ConfigError::if_zero_time("connect_timeout", self.connect_timeout)?;
        ConfigError::if_zero("max_requests_per_instance", self.max_per_instance.into())?;
        if let Some(limit) = self.draining {
            ConfigError::if_zero_time("connection_draining", limit)?;
            if is_restricted {
                ConfigError::unless_seconds("connection_draining", limit, 1..=3600)?;
            }
        }
        if is_restricted {
            ConfigError::unless_seconds("idle_timeout", self.idle_timeout, 1..=4000)?;
        }
        Ok(())
    }

    /// Returns the attempts at instances for one request: a connection that cannot be opened is
    /// tried elsewhere.
    pub(super) const ATTEMPTS: u32 = 3;

    /// Returns `strategy` within the zone of the load balancer, if requests must stay there.
    pub(super) fn within_zone<St, Req>(&self, strategy: St) -> Dynamic<Req>
    where
        St: Strategy<Picker: Pick<Req> + Send + Sync + 'static> + Clone + Send + 'static,
        Req: 'static,
    {
        match &self.zone {
            Some(zone) if !self.cross_zone => {
                Dynamic::new(ZoneAware::new(zone.clone(), strategy).cross_zone(CrossZone::Never))
            }
            _ => Dynamic::new(strategy),
        }
    }

    /// Gives a balancer the limit of instances and the surge queue. Without an instance in service,
    /// a request fails at once.
    pub(super) fn limit<T>(&self, builder: Builder<T>) -> Builder<T> {
        builder
            .max_outstanding(self.max_per_instance)
            .max_waiting(self.surge_queue)
            .max_wait(self.idle_timeout)
            .fail_fast(Duration::ZERO)
    }
}

/// What the listeners are made of.
pub(super) struct Plan {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    pub(super) checks: CheckFigures,
    /// The addresses of instances, with their health.
    instances: Broadcast<Arc<str>, IpAddr>,
}

impl Plan {
    /// Returns what polls the instances and their checks, and the plan. In this order, so that a
    /// caller that fails drops the plan first.
    pub(super) fn new(
        name: Arc<str>,
        sources: Vec<Erased<Arc<str>, IpAddr>>,
        check: &ClassicHealthCheck,
        settings: Settings,
    ) -> Result<(Work, Self), ConfigError> {
        // A check without TLS must not get it from the listeners.
        let tls = settings.instance_tls.as_ref().filter(|_| check.is_encrypted());
        let check = check.build(tls).map_err(|error| error.within("health_check"))?;
        let checked = discover::merge(sources).health_checked(check)?.named(Arc::clone(&name));
        let checks = checked.figures();
        let (instances, driver) = checked.broadcast();
        Ok((Box::pin(driver), Self { name, settings, checks, instances }))
    }

    /// Makes a listener, with its sockets bound.
    pub(super) fn node(&self, listener: &ClassicListener) -> Result<Node, ListenError> {
        match listener.protocol.is_http() {
            true => http_listener::node(self, listener),
            false => tcp_listener::node(self, listener),
        }
    }

    /// Returns the instances as the services of a listener, whose requests are counted apart from
    /// those of other listeners.
    pub(super) fn instances<S: Clone + Send + 'static>(
        &self,
        connect: impl Fn(IpAddr) -> S + Send + 'static,
    ) -> Result<Erased<Arc<str>, S>, ConfigError> {
        let services = self
            .instances
            .subscribe()
            .with_own_stats()
            .connect(move |address: &IpAddr| connect(*address));
        Ok(match self.settings.draining {
            Some(limit) => services.drained(Draining::within(limit))?.erase(),
            None => services.erase(),
        })
    }

    /// Returns the name of a listener's balancer.
    pub(super) fn name_of(&self, listener: &ClassicListener) -> String {
        format!("{} {}", self.name, listener.name())
    }

    /// Returns a listener with its socket.
    pub(super) fn bind(
        &self,
        listener: &ClassicListener,
        configure: impl FnOnce(ListenerBuilder) -> ListenerBuilder,
    ) -> Result<Listener, ListenError> {
        let builder = Listener::builder().name(listener.name()).socket(listener.socket());
        configure(builder).bind()
    }
}

/// What must be polled while the load balancer serves: the driver of a balancer, or that of the
/// instances.
pub(super) type Work = BoxFuture<'static, ()>;

/// Returns the origin of an address.
pub(super) fn origin(address: SocketAddr, encrypted: bool) -> Origin {
    Origin::from(address).secured(encrypted)
}
