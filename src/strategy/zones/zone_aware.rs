use std::{collections::BTreeMap, sync::Arc};

use super::zones::{Zone, ZoneView, Zones, ZonesPicker};
use crate::{
    ConfigError,
    endpoint::Locality,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, Strategy},
};

/// Keeps requests in the client's zone, as far as its endpoints can take them.
///
/// If the local zone's share of the endpoints is at least its share of the clients, all requests
/// stay in it. Otherwise, as many stay as its endpoints can take without more load than the others
/// have. The rest goes to the zones that have more endpoints than clients, in proportion to the
/// surplus. So every endpoint gets the same load, whatever its zone.
///
/// For this the clients of each zone must be known ([`clients`](Self::clients)). By default they
/// are assumed to be spread evenly over the zones that have endpoints. Zones are matched by name.
/// With fewer than six eligible endpoints ([`min_endpoints`](Self::min_endpoints)) zones are
/// ignored: the few endpoints of one zone would too easily be lost or overloaded. Endpoints without
/// a zone form a zone of their own.
///
/// Source: Envoy's zone-aware routing. Where this differs: shares are exact, endpoints count by
/// their weight, and any strategy can pick within a zone.
#[derive(Clone, Debug)]
pub struct ZoneAware<St> {
    zones: Zones<St>,
    spread: Spread,
}

/// How the zones share the requests.
#[derive(Clone, Debug)]
struct Spread {
    /// Empty if unknown.
    clients: BTreeMap<Locality, u32>,
    min_endpoints: usize,
    crossing: CrossZone,
}

/// Whether requests may leave their zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CrossZone {
    /// Requests leave their zone as far as it lacks endpoints. The default.
    #[default]
    AsNeeded,
    /// Requests never leave their zone, and fail if it cannot serve them. AWS: cross-zone load
    /// balancing turned off.
    Never,
    /// Zones are ignored, and all endpoints get the same load. AWS: cross-zone load balancing
    /// turned on.
    Always,
}

impl<St: Strategy + Clone> ZoneAware<St> {
    /// Balances for a client in the zone `local`.
    pub fn new(local: Locality, inner: St) -> Self {
        let (clients, crossing) = (BTreeMap::new(), CrossZone::default());
        let spread = Spread { clients, min_endpoints: 6, crossing };
        Self { zones: Zones::new(local, inner), spread }
    }

    /// Sets how many clients each zone has, or any other measure of the traffic from there. By
    /// default it is the same for all zones.
    #[must_use]
    pub fn clients(mut self, clients: impl IntoIterator<Item = (Locality, u32)>) -> Self {
        self.spread.clients = clients.into_iter().collect();
        self
    }

    /// Sets how many endpoints must be eligible; with fewer, zones are ignored. Default 6. Has no
    /// effect with [`CrossZone::Never`].
    ///
    /// # Errors
    ///
    /// If `endpoints` is 0.
    pub fn min_endpoints(mut self, endpoints: usize) -> Result<Self, ConfigError> {
        ConfigError::if_zero("min_endpoints", endpoints as u64)?;
        self.spread.min_endpoints = endpoints;
        Ok(self)
    }

    /// Sets whether requests may leave their zone. Default [`CrossZone::AsNeeded`].
    #[must_use]
    pub fn cross_zone(mut self, crossing: CrossZone) -> Self {
        self.spread.crossing = crossing;
        self
    }
}

impl Spread {
    /// Sets each zone's share of this client's requests.
    fn share_out(&self, views: &mut [ZoneView]) {
        let local = views.first().is_some_and(|view| view.is_local);
        let endpoints: usize = views.iter().map(|view| view.eligible.len()).sum();
        let ignored = match self.crossing {
            // With `Never`, the local zone is the only one in `views`.
            CrossZone::Always | CrossZone::Never => true,
            CrossZone::AsNeeded => endpoints < self.min_endpoints || !local,
        };
        views.iter_mut().for_each(|view| view.share = view.size());
        if ignored {
            return;
        }
        let endpoints: f64 = views.iter().map(|view| view.share).sum();
        let clients = |zone: &Zone| match zone {
            _ if self.clients.is_empty() => 1.0,
            Some(locality) => f64::from(self.clients.get(locality).copied().unwrap_or_default()),
            None => 0.0,
        };
        let everywhere: f64 = if self.clients.is_empty() {
            views.len() as f64
        } else {
            self.clients.values().copied().map(f64::from).sum()
        };
        if everywhere == 0.0 {
            return;
        }
        // A zone's surplus: its share of the endpoints beyond its share of the clients.
        let surplus = |view: &ZoneView| view.share / endpoints - clients(&view.zone) / everywhere;
        let mut surpluses: Vec<_> = views.iter().map(surplus).collect();
        let here = clients(&views[0].zone) / everywhere;
        // If the surplus is negative, the endpoints suffice for `endpoint share / client share` of
        // the requests.
        let stay = if surpluses[0] >= 0.0 { 1.0 } else { 1.0 + surpluses[0] / here };
        surpluses[0] = 0.0;
        let all: f64 = surpluses.iter().map(|surplus| surplus.max(0.0)).sum();
        for (view, surplus) in views.iter_mut().zip(&surpluses) {
            view.share = if all > 0.0 { (1.0 - stay) * surplus.max(0.0) / all } else { 0.0 };
        }
        views[0].share = if all > 0.0 { stay } else { 1.0 };
    }
}

impl<St: Strategy + Clone> Strategy for ZoneAware<St> {
    type Picker = ZonesPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let Self { zones, spread } = self;
        let local_only = spread.crossing == CrossZone::Never;
        zones.build(candidates, context, local_only, |views| spread.share_out(views))
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.zones.meter()
    }
}
