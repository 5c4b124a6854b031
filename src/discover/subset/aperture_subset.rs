use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::watch;

use super::placement::{ClientIndex, Placement};
use crate::{
    ConfigError,
    discover::{FleetMember, Subsetting},
    opaque::Opaque,
};

/// Selects endpoints by a deterministic aperture: clients and endpoints each divide a ring, and a
/// client uses the endpoints that its part of the ring overlaps.
///
/// All endpoints get the same load, in proportion to their weights, if all clients are present,
/// each index is used once, and the clients send the same load. The arcs of endpoints are
/// proportional to their weights. The order of endpoints is the same for all clients and is
/// independent of their names, so that neighbours are not in the same rack.
///
/// The window of a client begins at `index / clients`. Its width is a multiple of `1 / clients`,
/// the smallest that contains `min_endpoints` endpoints. An endpoint that overlaps the window in
/// part gets that part of its weight. The resulting weights are multiplied by 1000, to represent
/// parts of 1; weights above four million saturate.
///
/// An endpoint that is added or removed moves the borders of the others: a client replaces about
/// one endpoint at each end of its window. A different number of clients moves all windows. If
/// clients can't be numbered, use [`RendezvousSubset`](crate::discover::RendezvousSubset).
///
/// Endpoints that are not eligible have no arc, so they are left out. If no endpoint is eligible,
/// each has an arc.
///
/// Source: Finagle. Where this differs: the arithmetic is exact.
#[derive(Debug)]
pub struct ApertureSubset {
    placement: Placement,
    min_endpoints: usize,
    changed: Opaque<Changed>,
}

/// Waits for a change of the placement, and returns the receiver for the next change.
type Changed = Pin<Box<dyn Future<Output = watch::Receiver<ClientIndex>> + Send + Sync>>;

/// The factor by which resulting weights are multiplied.
const WEIGHT_SCALE: u128 = 1000;

impl ApertureSubset {
    /// Selects at least `min_endpoints` endpoints of equal weight in each tier, or all if there are
    /// fewer; 12 is a good number. Of unequal weights, selects at least that share of the total
    /// weight.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `min_endpoints` is 0.
    pub fn new(placement: &Placement, min_endpoints: usize) -> Result<Self, ConfigError> {
        ConfigError::if_zero("min_endpoints", min_endpoints as u64)?;
        let changed = Opaque(changed(placement.subscribe()));
        Ok(Self { placement: placement.clone(), min_endpoints, changed })
    }
}

fn changed(mut placement: watch::Receiver<ClientIndex>) -> Changed {
    Box::pin(async move {
        // This does not fail, because the `ApertureSubset` owns the sender.
        let _ = placement.changed().await;
        placement
    })
}

impl Subsetting for ApertureSubset {
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)> {
        let ClientIndex { index, clients } = self.placement.get();
        let some_eligible = fleet.iter().any(|member| member.eligible);
        let mut ring: Vec<_> = fleet
            .iter()
            .enumerate()
            .filter(|(_, member)| member.eligible || !some_eligible)
            .map(|(position, member)| (member.id, position, u128::from(member.weight.max(1))))
            .collect();
        ring.sort_unstable();

        // The ring has `clients` units for each unit of weight, so that all borders are integers.
        // The part of a client then has as many units as the total weight.
        let clients = u128::from(clients);
        let part: u128 = ring.iter().map(|(.., weight)| weight).sum();
        let parts = (self.min_endpoints as u128 * clients).div_ceil(ring.len().max(1) as u128);
        let length = part * clients;
        let width = (part * parts).min(length);
        let start = part * u128::from(index);
        let overlap = |from: u128, to: u128| {
            let before_end = to.min(start + width).saturating_sub(from.max(start));
            // The window may extend past the end of the ring, to its beginning.
            let wrapped = (start + width).saturating_sub(length);
            before_end + to.min(wrapped).saturating_sub(from)
        };

        let mut end = 0;
        let arcs = ring.into_iter().map(|(_, position, weight)| {
            let begin = end;
            end += weight * clients;
            (position, overlap(begin, end))
        });
        let selected = arcs.filter(|(_, overlap)| *overlap > 0);
        selected
            .map(|(position, overlap)| {
                let weight = (overlap * WEIGHT_SCALE + clients / 2) / clients;
                let weight = u32::try_from(weight).unwrap_or(u32::MAX).max(1);
                // An endpoint of weight 0 is selected only if none is eligible, and keeps its
                // weight.
                (position, if fleet[position].weight == 0 { 0 } else { weight })
            })
            .collect()
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Poll::Ready(placement) = self.changed.0.as_mut().poll(cx) else { return Poll::Pending };
        self.changed.0 = changed(placement);
        Poll::Ready(Some(()))
    }
}
