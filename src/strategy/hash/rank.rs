use crate::{
    hash::mix,
    strategy::{Candidate, HashKey, PickContext, Rng},
};

/// A picker that ranks all its candidates for each key: the first of them is the key's home, the next
/// takes over when that will not do, and so on, in the same order each time.
///
/// [`Rendezvous`](crate::strategy::Rendezvous), [`Maglev`](crate::strategy::Maglev) and [`Ring`](crate::strategy::Ring) build such
/// pickers, [`BoundedLoad`](crate::strategy::BoundedLoad) and [`TopK`](crate::strategy::TopK) work over any strategy that
/// does.
pub trait Rank<Req> {
    /// The hash of the request's key; a random one if it has no key.
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64;

    /// Of the candidates for which `accepts` holds, the one that ranks highest for a hash. `None` if
    /// it holds for none.
    ///
    /// `accepts` may be asked about candidates in any order, and about the same one more than once.
    fn highest(&self, hash: u64, accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate>;
}

/// The hash of the request's key, spread over all numbers.
#[inline]
pub(super) fn hash<Req>(key: &impl HashKey<Req>, request: &Req, rng: &mut Rng) -> u64 {
    match key.hash(request) {
        Some(hash) => mix(hash),
        None => rng.bits(),
    }
}

/// The highest that is accepted, or else the highest that has room.
#[inline]
pub(super) fn pick<'a, Req>(
    picker: &'a impl Rank<Req>,
    request: &Req,
    context: &mut PickContext<'_>,
) -> Option<&'a Candidate> {
    let hash = picker.hash(request, context.rng());
    let home = picker.highest(hash, |_| true)?;
    if context.accepts(home) { Some(home) } else { pick_accepted(picker, hash, context) }
}

#[cold]
fn pick_accepted<'a, Req>(
    picker: &'a impl Rank<Req>,
    hash: u64,
    context: &PickContext<'_>,
) -> Option<&'a Candidate> {
    picker
        .highest(hash, |candidate| context.accepts(candidate))
        .or_else(|| picker.highest(hash, |candidate| context.has_room(candidate)))
}
