//! The common part of the zone wrappers: endpoints by zone, and a picker that draws a zone first.

use std::{collections::BTreeMap, iter, sync::Arc};

use crate::{
    endpoint::Locality,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Observe, observed_pick},
        sampling::draw::Draw,
        wrappers::{
            built_parts::{BuiltParts, PartPicker},
            part_strategies::PartStrategies,
        },
    },
};

/// The locality of endpoints. Those without one form a zone of their own.
pub(super) type Zone = Option<Locality>;

/// An inner strategy over the endpoints of each zone.
#[derive(Clone, Debug)]
pub(super) struct Zones<St> {
    local: Locality,
    parts: PartStrategies<Zone, St>,
}

/// A zone in which requests may go to at least one endpoint.
#[derive(Clone, Debug)]
pub(super) struct ZoneView {
    pub(super) zone: Zone,
    pub(super) is_local: bool,
    /// The endpoints that requests may go to, according to the inner strategy.
    pub(super) eligible: Candidates,
    /// The zone's share of the requests, in any unit.
    pub(super) share: f64,
}

impl ZoneView {
    /// Returns the sum of the endpoints' weights.
    pub(super) fn size(&self) -> f64 {
        self.eligible.iter().map(|candidate| f64::from(candidate.weight())).sum()
    }
}

impl<St: Strategy + Clone> Zones<St> {
    pub(super) fn new(local: Locality, inner: St) -> Self {
        Self { local, parts: PartStrategies::new(inner) }
    }

    /// Builds a picker that draws zones by the shares that `share_out` sets. The views it gets
    /// start with the local zone, if that has endpoints.
    ///
    /// Zones with a share of 0 are used only for requests that no other zone accepts. With
    /// `local_only`, other zones are not used at all.
    pub(super) fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
        local_only: bool,
        share_out: impl FnOnce(&mut [ZoneView]),
    ) -> Built<ZonesPicker<St::Picker>> {
        let by_zone = candidates.partition(|candidate| Some(candidate.locality().cloned()));
        let mut by_zone: Vec<_> = BTreeMap::from_iter(by_zone).into_iter().collect();
        let local = Some(&self.local);
        by_zone.sort_by_key(|(zone, _)| zone.as_ref() != local);
        if local_only {
            by_zone.retain(|(zone, _)| zone.as_ref() == local);
        }
        let (mut inner, mut all) = (self.parts.rebuild(), BuiltParts::default());
        let mut views = Vec::new();
        let mut zones = Vec::new();
        for (zone, part) in by_zone {
            // If zones can take over from each other, a panic rule must count the endpoints of all.
            let part = if local_only { part.confined() } else { part.as_part_of(candidates) };
            let built = inner.build(zone.clone(), &part, context);
            let is_local = zone.as_ref() == local;
            let eligible = built.eligible.clone();
            if let Some(part) = all.add(name(&zone), built) {
                views.push(ZoneView { zone, is_local, eligible, share: 0.0 });
                zones.push(part);
            }
        }
        // Only after the inner strategies: a panic rule in one of them may admit unhealthy
        // endpoints.
        share_out(&mut views);
        let shares: Vec<_> = views.iter().map(|view| view.share).collect();
        let draw = Draw::new(&shares);
        let picker = ZonesPicker { zones: zones.into(), draw, shares: shares.into() };
        all.finish(candidates, picker).with_notices(leaving_notice(&views))
    }

    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

fn name(zone: &Zone) -> String {
    zone.as_ref().map_or_else(|| "no zone".to_owned(), ToString::to_string)
}

/// Returns the notice for the operator if requests leave the local zone.
fn leaving_notice(views: &[ZoneView]) -> Option<String> {
    let first = views.first()?;
    if !first.is_local {
        return Some("all requests leave the zone".to_owned());
    }
    let all: f64 = views.iter().map(|view| view.share).sum();
    let stay = first.share / all * 100.0;
    (stay < 99.95).then(|| format!("{stay:.1} % stay in the zone"))
}

/// The picker of the zone wrappers: draws a zone by its share, and asks the inner picker of that
/// zone.
#[derive(Debug)]
#[expect(unnameable_types, reason = "named as <ZoneAware<St> as Strategy>::Picker")]
pub struct ZonesPicker<P> {
    /// The local zone first.
    zones: Box<[PartPicker<P>]>,
    draw: Draw,
    /// For explanations, in any unit.
    shares: Box<[f64]>,
}

impl<P> ZonesPicker<P> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        observer.step("zones");
        let first = self.zones.get(self.draw.draw(context.rng()))?;
        observer.say(|| PartPicker::describe_draw(first, &self.zones, &self.shares));
        let zones = iter::once(first).chain(&self.zones);
        PartPicker::first_accepted_with(zones, request, context, observer)
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for ZonesPicker<P> {
    observed_pick!(Req);
}
