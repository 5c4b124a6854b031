use std::{collections::BTreeMap, sync::Arc};

use super::zones::{Zone, ZoneView, Zones, ZonesPicker};
use crate::{
    endpoint::Locality,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, InvalidParameter, Strategy},
};

/// Keeps requests in the zone that they come from, as far as its endpoints can take them.
///
/// If the local zone has at least the share of the endpoints that it has of the clients, all requests
/// stay in it. If not, as many stay as its endpoints can take without more load than the others have,
/// and the rest goes to those zones that have more endpoints than clients, in proportion to what they
/// have to spare. So every endpoint gets the same load, whatever zone it is in.
///
/// For that one must know where the clients are ([`clients`](Self::clients)); by default they are taken
/// to be spread evenly over the zones that have endpoints. Zones are matched by name. With fewer than
/// six eligible endpoints ([`min_endpoints`](Self::min_endpoints)) zones are ignored: the few of one
/// zone would be too easily lost or overloaded. Endpoints without a zone are one of their own.
///
/// Source: Envoy's zone-aware routing. Where we differ: shares are exact, endpoints count by their
/// weight, and any strategy may choose inside a zone.
#[derive(Clone, Debug)]
pub struct ZoneAware<St> {
    zones: Zones<St>,
    spread: Spread,
}

/// How the zones share the requests.
#[derive(Clone, Debug)]
struct Spread {
    clients: BTreeMap<Locality, u32>,
    min_endpoints: usize,
    crossing: CrossZone,
}

/// Whether requests may leave their zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CrossZone {
    /// As far as their zone lacks endpoints. The default.
    #[default]
    AsNeeded,
    /// Never: what the zone can't serve fails. What AWS calls cross-zone load balancing turned off.
    Never,
    /// Zones are ignored, and all endpoints get the same: cross-zone load balancing turned on.
    Always,
}

impl<St: Strategy + Clone> ZoneAware<St> {
    /// For a client in the zone `local`.
    pub fn new(local: Locality, inner: St) -> Self {
        let (clients, crossing) = (BTreeMap::new(), CrossZone::default());
        let spread = Spread { clients, min_endpoints: 6, crossing };
        Self { zones: Zones::new(local, inner), spread }
    }

    /// How many clients there are in each zone, or any other measure of how much traffic comes from
    /// there. Default: the same everywhere.
    #[must_use]
    pub fn clients(mut self, clients: impl IntoIterator<Item = (Locality, u32)>) -> Self {
        self.spread.clients = clients.into_iter().collect();
        self
    }

    /// How many endpoints must be eligible for zones to be looked at. Default 6. Has no effect on
    /// [`CrossZone::Never`].
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] for 0.
    pub fn min_endpoints(mut self, endpoints: usize) -> Result<Self, InvalidParameter> {
        if endpoints == 0 {
            return Err(InvalidParameter::new("min_endpoints", "at least 1"));
        }
        self.spread.min_endpoints = endpoints;
        Ok(self)
    }

    /// Whether requests may leave their zone. Default [`CrossZone::AsNeeded`].
    #[must_use]
    pub fn cross_zone(mut self, crossing: CrossZone) -> Self {
        self.spread.crossing = crossing;
        self
    }
}

impl Spread {
    /// Gives each zone its share of the requests from here.
    fn share_out(&self, views: &mut [ZoneView]) {
        let local = views.first().is_some_and(|view| view.is_local);
        let endpoints: usize = views.iter().map(|view| view.eligible.len()).sum();
        let ignored = match self.crossing {
            // With `Never` the local zone is the only one there is.
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
        // How much more of the endpoints than of the clients each zone has.
        let spare = |view: &ZoneView| view.share / endpoints - clients(&view.zone) / everywhere;
        let mut spares: Vec<_> = views.iter().map(spare).collect();
        let here = clients(&views[0].zone) / everywhere;
        let stay = if spares[0] >= 0.0 { 1.0 } else { 1.0 + spares[0] / here };
        spares[0] = 0.0;
        let all: f64 = spares.iter().map(|spare| spare.max(0.0)).sum();
        for (view, spare) in views.iter_mut().zip(&spares) {
            view.share = if all > 0.0 { (1.0 - stay) * spare.max(0.0) / all } else { 0.0 };
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
