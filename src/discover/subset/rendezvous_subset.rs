use std::{cmp::Reverse, fmt::Display};

use crate::{
    ConfigError,
    discover::{FleetMember, Subsetting},
    hash::{mix, stable_hash_of},
};

/// Selects endpoints by rendezvous hashing: each client scores the endpoints by a hash of both
/// names and uses those with the best scores.
///
/// Clients need no coordination. An endpoint that is added or removed changes one connection of
/// each client whose subset it enters or leaves, and nothing else. The number of clients per
/// endpoint is random, with a Poisson distribution. For a more even load use a larger subset, or an
/// [`ApertureSubset`](crate::discover::ApertureSubset) if clients can be numbered.
///
/// An endpoint that is not eligible does not count. As long as it is among the best it stays in the
/// subset, because a sticky session may still use it, and the next best endpoint is added. Weights
/// are kept and do not influence the selection; over many clients the load is proportional to them.
///
/// Source: highest random weight, Thaler and Ravishankar 1998. Where this differs: the client is
/// the object.
#[derive(Clone, Copy, Debug)]
pub struct RendezvousSubset {
    client: u64,
    size: usize,
}

impl RendezvousSubset {
    /// Selects `size` endpoints in each tier for the client with this name. A name that stays the
    /// same after a restart keeps the subset. Each client should have its own name.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `size` is 0.
    pub fn new(client: impl Display, size: usize) -> Result<Self, ConfigError> {
        ConfigError::if_zero("size", size as u64)?;
        Ok(Self { client: stable_hash_of(&client), size })
    }

    /// Returns the positions of the best endpoints for which `candidate` returns true.
    fn best(&self, fleet: &[FleetMember], candidate: impl Fn(&FleetMember) -> bool) -> Vec<usize> {
        let scored = fleet.iter().enumerate().filter(|(_, member)| candidate(member));
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
