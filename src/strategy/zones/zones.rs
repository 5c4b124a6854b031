//! What the zone wrappers have in common: endpoints by zone, and a picker that draws a zone first.

use std::{collections::BTreeMap, iter, sync::Arc};

use crate::{
    endpoint::Locality,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        sampling::draw::Draw,
        wrappers::{
            built_parts::{BuiltParts, PartPicker, first_accepted},
            part_strategies::PartStrategies,
        },
    },
};

/// Where endpoints are; those that don't say are a zone of their own.
pub(super) type Zone = Option<Locality>;

/// An inner strategy over the endpoints of each zone.
#[derive(Clone, Debug)]
pub(super) struct Zones<St> {
    local: Locality,
    parts: PartStrategies<Zone, St>,
}

/// A zone in which the inner strategy lets requests go to some endpoints.
#[derive(Clone, Debug)]
pub(super) struct ZoneView {
    pub(super) zone: Zone,
    pub(super) is_local: bool,
    /// The endpoints that requests may go to.
    pub(super) eligible: Candidates,
    /// Of the traffic; in any unit.
    pub(super) share: f64,
}

impl ZoneView {
    /// The weights of its endpoints together.
    pub(super) fn size(&self) -> f64 {
        self.eligible.iter().map(|candidate| f64::from(candidate.weight())).sum()
    }
}

impl<St: Strategy + Clone> Zones<St> {
    pub(super) fn new(local: Locality, inner: St) -> Self {
        Self { local, parts: PartStrategies::new(inner) }
    }

    /// Builds a picker that draws zones by the shares that `share_out` gives them, the local zone
    /// first among them. Zones without a share are used only for requests that no other zone accepts;
    /// with `local_only` the others are not used at all.
    ///
    /// Zones get their shares after their inner strategies have said which endpoints requests may go
    /// to: a panic rule further in may admit some where none is healthy.
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
            // Where zones stand in for each other, a panic rule counts the endpoints of all.
            let part = if local_only { part.confined() } else { part.as_part_of(candidates) };
            let built = inner.build(zone.clone(), &part, context);
            let is_local = zone.as_ref() == local;
            let eligible = built.eligible.clone();
            if let Some(part) = all.add(name(&zone), built) {
                views.push(ZoneView { zone, is_local, eligible, share: 0.0 });
                zones.push(part);
            }
        }
        share_out(&mut views);
        let shares: Vec<_> = views.iter().map(|view| view.share).collect();
        let picker = ZonesPicker { zones: zones.into(), draw: Draw::new(&shares) };
        all.finish(candidates, picker).with_notices(leaving(&views))
    }

    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

fn name(zone: &Zone) -> String {
    zone.as_ref().map_or_else(|| "no zone".to_owned(), ToString::to_string)
}

/// What to say if requests leave the local zone.
fn leaving(views: &[ZoneView]) -> Option<String> {
    let first = views.first()?;
    if !first.is_local {
        return Some("all requests leave the zone".to_owned());
    }
    let all: f64 = views.iter().map(|view| view.share).sum();
    let stay = first.share / all * 100.0;
    (stay < 99.95).then(|| format!("{stay:.1} % stay in the zone"))
}

/// The picker of the zone wrappers: draws a zone by its share, and lets the inner picker choose there.
#[derive(Debug)]
pub struct ZonesPicker<P> {
    /// The local one first.
    zones: Box<[PartPicker<P>]>,
    draw: Draw,
}

impl<P: Pick<Req>, Req> Pick<Req> for ZonesPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let first = self.zones.get(self.draw.draw(context.rng()))?;
        first_accepted(iter::once(first).chain(&self.zones), request, context)
    }
}
