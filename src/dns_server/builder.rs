use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_server::proto::rr::Name;
use ipnet::IpNet;

use super::{
    responder::Responder,
    server::DnsServer,
    zones::{Zone, ZoneAffinity, Zones},
};
use crate::ConfigError;

/// Configures the answers of a [`DnsServer`].
#[derive(Clone, Debug)]
pub struct DnsServerBuilder {
    name: String,
    ttl: Duration,
    zones: Zones,
}

impl DnsServerBuilder {
    pub(super) fn new(name: String) -> Self {
        let zones = Zones {
            zones: Vec::new(),
            clients: Vec::new(),
            affinity: ZoneAffinity::None,
            is_healthy: Arc::new(|_| true),
        };
        Self { name, ttl: Duration::from_secs(60), zones }
    }

    setters! {
        /// Sets how long a client may keep an answer, in whole seconds. Default 60 s, which is that
        /// of an Application Load Balancer.
        pub fn ttl(ttl: Duration) => ttl = ttl;
        /// Sets how strongly clients are bound to their zone. Default [`ZoneAffinity::None`].
        pub fn affinity(affinity: ZoneAffinity) => zones.affinity = affinity;
        /// Sets what tells whether a zone can serve. It is called for each zone, at most every
        /// 100 ms and only while there are queries, and should not block: an answer waits for it.
        /// Default: every zone can.
        pub fn healthy(is_healthy: impl Fn(&str) -> bool + Send + Sync + 'static)
            => zones.is_healthy = Arc::new(is_healthy);
    }

    /// Adds a zone and the addresses of its nodes. The zone has a name of its own besides,
    /// `ZONE.NAME`, which is answered whatever its health.
    #[must_use]
    pub fn zone(
        mut self,
        name: impl Into<String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let addresses = addresses.into_iter().collect();
        self.zones.zones.push(Zone { name: name.into(), addresses });
        self
    }

    /// Says that clients of `network` are in `zone`. The longest prefix counts. A query that
    /// arrives through a resolver has the resolver's address.
    #[must_use]
    pub fn clients(mut self, network: IpNet, zone: impl Into<String>) -> Self {
        self.zones.clients.push((network, zone.into()));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If the name is no domain name, if there is no zone, if a zone has no address, a name that is
    /// no label or the name of another zone, if `clients` names an unknown zone, or if `ttl` is
    /// above 2^31 - 1 seconds.
    pub fn build(self) -> Result<DnsConfig, ConfigError> {
        let Self { name, ttl, zones } = self;
        let mut origin = Name::from_ascii(&name)
            .map_err(|_| ConfigError::new("name", "a domain name").with_value(&name))?;
        origin.set_fqdn(true);
        let ttl = u32::try_from(ttl.as_secs())
            .ok()
            .filter(|&seconds| i32::try_from(seconds).is_ok())
            .ok_or_else(|| ConfigError::new("ttl", "at most 2147483647 seconds"))?;
        if zones.zones.is_empty() {
            return Err(ConfigError::new("zone", "at least one zone"));
        }
        let mut seen = BTreeSet::new();
        for zone in &zones.zones {
            let error = |expected| ConfigError::new("zone", expected).with_value(&zone.name);
            if zone.name.contains('.') || origin.prepend_label(zone.name.as_str()).is_err() {
                return Err(error("a label, such as `a` or `eu-west-1a`"));
            }
            if !seen.insert(zone.name.to_ascii_lowercase()) {
                return Err(error("a name that no other zone has"));
            }
            if zone.addresses.is_empty() {
                return Err(error("a zone with at least one address"));
            }
        }
        let is_unknown =
            |(_, client): &&(_, String)| !zones.zones.iter().any(|zone| zone.name == *client);
        if let Some((_, zone)) = zones.clients.iter().find(is_unknown) {
            return Err(ConfigError::new("clients", "the name of a zone").with_value(zone));
        }
        Ok(DnsConfig { responder: Responder::new(origin, ttl, zones) })
    }
}

/// The checked settings of a [`DnsServer`].
#[derive(Debug)]
pub struct DnsConfig {
    responder: Responder,
}

impl DnsConfig {
    /// Listens on `address`, on UDP and TCP. Port 0 is a port that is free for both.
    ///
    /// # Errors
    ///
    /// If a socket cannot be bound.
    pub async fn bind(self, address: SocketAddr) -> io::Result<DnsServer> {
        DnsServer::bind(self.responder, address).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(builder: DnsServerBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn nonsense_is_refused_with_the_field() {
        let address = [IpAddr::from([127, 0, 0, 1])];
        let named = |name: &str| DnsServerBuilder::new(name.into());
        let valid = || named("lb.test").zone("a", address);
        assert!(valid().build().is_ok());
        assert_eq!(field(named("lb.test")), "`zone`: expected at least one zone");
        assert!(field(named("a..b").zone("a", address)).starts_with("`name` is a..b"));
        assert!(field(valid().zone("A", address)).contains("no other zone"));
        assert!(field(valid().zone("b", [])).contains("at least one address"));
        assert!(field(valid().zone("b.c", address)).contains("a label"));
        assert!(field(valid().zone("", address)).contains("a label"));
        assert!(field(valid().clients("10.0.0.0/8".parse().unwrap(), "x")).contains("`clients`"));
        assert!(field(valid().ttl(Duration::from_secs(1 << 31))).contains("`ttl`"));
    }
}
