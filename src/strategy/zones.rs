//! What the zone wrappers have in common: endpoints by zone, and a picker that draws a zone first.

use std::{
    iter,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Candidate, Candidates, Pick, PickContext, Strategy,
    draw::Draw,
    part::{Part, first_accepted},
    parts::Parts,
};
use crate::{endpoint::Locality, outcome::Meter};

/// Where endpoints are; those that don't say are a zone of their own.
pub(super) type Zone = Option<Locality>;

/// An inner strategy over the endpoints of each zone.
#[derive(Clone, Debug)]
pub(super) struct Zones<St> {
    local: Locality,
    parts: Parts<Zone, St>,
    /// As of the last picker: the zones with endpoints, the local one first if it has any.
    views: Vec<ZoneView>,
}

#[derive(Clone, Debug)]
pub(super) struct ZoneView {
    pub(super) zone: Zone,
    pub(super) candidates: Candidates,
    /// Of the traffic; in any unit.
    pub(super) share: f64,
}

impl<St: Strategy + Clone> Zones<St> {
    pub(super) fn new(local: Locality, inner: St) -> Self {
        Self { local, parts: Parts::new(inner), views: Vec::new() }
    }

    pub(super) fn is_local(&self, zone: &Zone) -> bool {
        zone.as_ref() == Some(&self.local)
    }

    /// The zones that have eligible endpoints, the local one first.
    pub(super) fn split(&self, candidates: &Candidates) -> Vec<ZoneView> {
        let by_zone = candidates.partition(|candidate| Some(candidate.locality()));
        let occupied = by_zone.into_iter().filter(|(_, candidates)| !candidates.is_empty());
        let mut views: Vec<_> = occupied
            .map(|(zone, candidates)| ZoneView { zone: zone.cloned(), candidates, share: 0.0 })
            .collect();
        views.sort_by(|a, b| a.zone.cmp(&b.zone));
        views.sort_by_key(|view| !self.is_local(&view.zone));
        views
    }

    /// A picker that draws zones by their shares. Zones without a share are used only for requests
    /// that no other zone accepts; with `strictly` not even then.
    pub(super) fn picker(
        &mut self,
        views: Vec<ZoneView>,
        strictly: bool,
    ) -> ZonesPicker<St::Picker> {
        let mut views = views;
        if strictly {
            views.retain(|view| view.share > 0.0);
        }
        let (zones, shares): (Vec<_>, Vec<_>) = self.parts.rebuild(|parts| {
            let built = views.iter().filter_map(|view| {
                Some((parts.part(view.zone.clone(), &view.candidates)?, view.share))
            });
            built.unzip()
        });
        self.views = views;
        ZonesPicker { zones: zones.into(), draw: Draw::new(&shares) }
    }

    pub(super) fn eligible(&self, candidates: &Candidates) -> Candidates {
        self.parts.eligible(candidates)
    }

    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }

    /// The share of the local zone, unless it has all, and what the inner strategies say.
    pub(super) fn notices(&self) -> Vec<String> {
        let all: f64 = self.views.iter().map(|view| view.share).sum();
        let of = |view: &ZoneView| view.share / all * 100.0;
        let local = self.views.first().filter(|view| self.is_local(&view.zone));
        let notice = match local {
            _ if self.views.is_empty() => None,
            Some(local) if of(local) < 99.95 => {
                Some(format!("{:.1} % stay in the zone", of(local)))
            }
            Some(_) => None,
            None => Some("all requests leave the zone".to_owned()),
        };
        let inner = self.parts.notices(|zone| match zone {
            Some(locality) => locality.to_string(),
            None => "no zone".to_owned(),
        });
        notice.into_iter().chain(inner).collect()
    }

    pub(super) fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.parts.poll_update(cx)
    }
}

/// The picker of the zone wrappers: draws a zone by its share, and lets the inner picker choose there.
#[derive(Debug)]
pub struct ZonesPicker<P> {
    /// The local one first.
    zones: Box<[Part<P>]>,
    draw: Draw,
}

impl<P: Pick<Req>, Req> Pick<Req> for ZonesPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let first = self.zones.get(self.draw.draw(context.rng()))?;
        first_accepted(iter::once(first).chain(&self.zones), request, context)
    }
}
