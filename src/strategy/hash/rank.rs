use crate::strategy::{Candidate, Rng};

/// A picker that ranks all its candidates for each key, in the same order each time.
///
/// The key's requests go to the first candidate, or to the next one that can take them.
/// [`Rendezvous`](crate::strategy::Rendezvous), [`Maglev`](crate::strategy::Maglev) and
/// [`Ring`](crate::strategy::Ring) build such pickers.
/// [`BoundedLoad`](crate::strategy::BoundedLoad) and [`TopK`](crate::strategy::TopK) wrap any
/// strategy that does.
pub trait Rank<Req> {
    /// Returns the hash of the request's key, or a random number if it has no key.
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64;

    /// Returns the highest-ranking candidate for `hash` among those that `accepts` returns true
    /// for. `None` if there is no such candidate.
    ///
    /// `accepts` may be called with the candidates in any order, and more than once with the same
    /// one.
    fn highest(&self, hash: u64, accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate>;
}
