use std::{net::SocketAddr, sync::Arc};

use crate::endpoint::{Endpoint, Locality};

/// A target of a group: an address, with its zone and its weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    address: SocketAddr,
    zone: Option<Arc<str>>,
    weight: u32,
}

impl Target {
    /// Creates a target of weight 1 in no zone.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, zone: None, weight: 1 }
    }

    /// Sets the availability zone, such as `eu-central-1a`. The region is the name without its last
    /// letter. Default none.
    #[must_use]
    pub fn in_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    setters! {
        /// Sets the weight, relative to other targets'. Default 1; 0 sends no new request. The ALB
        /// has no weights of targets.
        pub fn weight(weight: u32) => weight = weight;
    }

    /// Returns the name of the target: its address, such as `10.0.0.1:8080`.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        self.address.to_string().into()
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the availability zone.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Returns the target as an endpoint whose target is its address.
    pub(super) fn endpoint(&self) -> Endpoint<SocketAddr> {
        let endpoint = Endpoint::new(self.address).with_weight(self.weight);
        match &self.zone {
            Some(zone) => endpoint.with_locality(locality(zone)),
            None => endpoint,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

fn locality(zone: &Arc<str>) -> Locality {
    let region = zone.strip_suffix(|last: char| last.is_ascii_lowercase()).unwrap_or(zone);
    Locality::new(region, Arc::clone(zone))
}
