use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::watch;

use crate::discover::{FleetMember, InvalidSubset, Subsetting};

/// A client's index among all clients, and how many there are. Clones share it; it may change while
/// in use.
#[derive(Clone, Debug)]
pub struct Placement {
    seat: Arc<watch::Sender<HashEntry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HashEntry {
    index: u32,
    clients: u32,
}

impl HashEntry {
    fn new(index: u32, clients: u32) -> Result<Self, InvalidSubset> {
        let invalid = InvalidSubset::Placement { index, clients };
        (index < clients).then_some(Self { index, clients }).ok_or(invalid)
    }
}

impl Placement {
    /// The client of this index, from 0, of so many clients.
    ///
    /// # Errors
    ///
    /// [`InvalidSubset::Placement`] if the index is not below the number of clients.
    pub fn new(index: u32, clients: u32) -> Result<Self, InvalidSubset> {
        let (sender, _) = watch::channel(HashEntry::new(index, clients)?);
        Ok(Self { seat: Arc::new(sender) })
    }

    /// Changes it, and with it the subsets of all [`Aperture`]s that share it.
    ///
    /// # Errors
    ///
    /// [`InvalidSubset::Placement`] if the index is not below the number of clients; nothing
    /// changes then.
    pub fn set(&self, index: u32, clients: u32) -> Result<(), InvalidSubset> {
        let new = HashEntry::new(index, clients)?;
        self.seat.send_if_modified(|seat| std::mem::replace(seat, new) != new);
        Ok(())
    }
}

/// Deterministic aperture: clients and endpoints divide one ring each, and a client uses the
/// endpoints that lie under its part.
///
/// All endpoints get the same load (in proportion to their weights) if all clients are there, each
/// index is taken once, and clients send equally much. Endpoints take arcs in proportion to their
/// weights, in an order that all clients agree on and that has nothing to do with names, so that
/// neighbours are not of one rack. A client looks through a window that begins at `index / clients`
/// and is as many clients' parts wide as are needed for the least number of endpoints; an endpoint
/// that is seen in part gets the part of its weight. Weights come out multiplied by 1000, to have
/// parts of 1; those beyond four million saturate.
///
/// As in Finagle, from where the algorithm is; the arithmetic here is exact. An endpoint that comes
/// or goes moves the borders of the others: a client exchanges about one endpoint for each end of
/// its window. Another number of clients moves all windows. Who can't number clients takes
/// [`RendezvousSubset`](crate::discover::RendezvousSubset).
///
/// Endpoints that may get no requests have no arc, and so are left out; if that is all, each has
/// one.
pub struct Aperture {
    placement: Placement,
    least: usize,
    changed: Changed,
}

/// Waits for a change of the seat, and gives the receiver back for the next.
type Changed = Pin<Box<dyn Future<Output = watch::Receiver<HashEntry>> + Send + Sync>>;

/// One unit of weight, in the weights that come out.
const SCALE: u128 = 1000;

impl Aperture {
    /// At least so many endpoints of equal weight in each tier, as far as there are so many; 12 is
    /// a good number. Of unequal weights, at least that part of the whole weight.
    ///
    /// # Errors
    ///
    /// [`InvalidSubset::Empty`] if `least` is 0.
    pub fn new(placement: &Placement, least: usize) -> Result<Self, InvalidSubset> {
        if least == 0 {
            return Err(InvalidSubset::Empty);
        }
        let changed = changed(placement.seat.subscribe());
        Ok(Self { placement: placement.clone(), least, changed })
    }
}

fn changed(mut seat: watch::Receiver<HashEntry>) -> Changed {
    Box::pin(async move {
        // The sender lives on in the aperture, so that this does not fail.
        let _ = seat.changed().await;
        seat
    })
}

impl Subsetting for Aperture {
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)> {
        let seat = *self.placement.seat.borrow();
        let some_eligible = fleet.iter().any(|member| member.eligible);
        let mut ring: Vec<_> = fleet
            .iter()
            .enumerate()
            .filter(|(_, member)| member.eligible || !some_eligible)
            .map(|(position, member)| (member.id, position, u128::from(member.weight.max(1))))
            .collect();
        ring.sort_unstable();

        // The ring has `clients` units for each unit of weight, so that no border needs a fraction.
        let clients = u128::from(seat.clients);
        let part: u128 = ring.iter().map(|(.., weight)| weight).sum();
        let parts = (self.least as u128 * clients).div_ceil(ring.len().max(1) as u128);
        let length = part * clients;
        let width = (part * parts).min(length);
        let start = part * u128::from(seat.index);
        let overlap = |from: u128, to: u128| {
            let seen = |start: u128| to.min(start + width).saturating_sub(from.max(start));
            // The window may reach around the end of the ring.
            let around = (start + width).saturating_sub(length);
            seen(start) + to.min(around).saturating_sub(from)
        };

        let mut end = 0;
        let arcs = ring.into_iter().map(|(_, position, weight)| {
            let begin = end;
            end += weight * clients;
            (position, overlap(begin, end))
        });
        let seen = arcs.filter(|(_, seen)| *seen > 0);
        seen.map(|(position, seen)| {
            let weight = (seen * SCALE + clients / 2) / clients;
            let weight = u32::try_from(weight).unwrap_or(u32::MAX).max(1);
            // One that weighs nothing is seen only if none may get requests; it stays so.
            (position, if fleet[position].weight == 0 { 0 } else { weight })
        })
        .collect()
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Poll::Ready(seat) = self.changed.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.changed = changed(seat);
        Poll::Ready(Some(()))
    }
}

impl fmt::Debug for Aperture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aperture")
            .field("placement", &*self.placement.seat.borrow())
            .field("least", &self.least)
            .finish_non_exhaustive()
    }
}
