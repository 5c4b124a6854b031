use std::{cmp::Reverse, fmt::Display};

use crate::discover::{FleetMember, InvalidSubset, Subsetting};
use crate::hash::{mix, stable_hash_of};

/// Rendezvous subsetting: each client scores the endpoints by a hash of both names and uses the
/// best.
///
/// Clients need not know of each other. An endpoint that comes or goes changes one connection, of
/// those clients only whose subset it enters or leaves; all others stay (highest random weight,
/// Thaler and Ravishankar 1998, used with the client as the object). How many clients an endpoint
/// gets is as even as chance makes it, Poisson's distribution around the mean: take a larger
/// subset, or an [`Aperture`](crate::discover::Aperture) if clients can be numbered.
///
/// An endpoint that may get no requests does not count: as long as it is among the best it stays in
/// the subset (a sticky session may still use it), and the next best joins. Weights are kept and
/// don't influence the choice; for many clients the shares of traffic come out in proportion to
/// them.
#[derive(Clone, Copy, Debug)]
pub struct RendezvousSubset {
    client: u64,
    size: usize,
}

impl RendezvousSubset {
    /// A subset of `size` endpoints in each tier, for the client of this name: one that stays the
    /// same over restarts keeps the same subset. No two clients should share a name.
    ///
    /// # Errors
    ///
    /// [`InvalidSubset::Empty`] if `size` is 0.
    pub fn new(client: impl Display, size: usize) -> Result<Self, InvalidSubset> {
        if size == 0 {
            return Err(InvalidSubset::Empty);
        }
        Ok(Self { client: stable_hash_of(&client), size })
    }

    /// The positions of the best, of those asked for.
    fn best(&self, fleet: &[FleetMember], of: impl Fn(&FleetMember) -> bool) -> Vec<usize> {
        let scored = fleet.iter().enumerate().filter(|(_, member)| of(member));
        let mut scored: Vec<_> = scored
            .map(|(position, member)| (Reverse(mix(member.id ^ self.client)), position))
            .collect();
        if self.size < scored.len() {
            scored.select_nth_unstable(self.size);
            scored.truncate(self.size);
        }
        scored.into_iter().map(|(_, position)| position).collect()
    }
}

impl Subsetting for RendezvousSubset {
    fn choose(&mut self, fleet: &[FleetMember]) -> Vec<(usize, u32)> {
        let mut chosen = self.best(fleet, |member| member.eligible);
        let best = self.best(fleet, |_| true).into_iter();
        chosen.extend(best.filter(|position| !fleet[*position].eligible));
        chosen.sort_unstable();
        chosen.into_iter().map(|position| (position, fleet[position].weight)).collect()
    }
}
