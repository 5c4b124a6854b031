//! Random numbers, seeded where a result must be repeatable.

use std::hash::{BuildHasher, RandomState};

use rand::{Rng as _, SeedableRng, rngs::SmallRng};

/// A small, fast generator of random numbers, owned by each clone of a balancer. Not for secrets.
///
/// Source: `rand`'s `SmallRng` (xoshiro256++ on 64-bit platforms).
#[derive(Clone, Debug)]
pub struct Rng {
    generator: SmallRng,
    /// Generated ahead, so that a pick does not wait for it.
    next: u64,
}

impl Rng {
    /// Returns a generator whose numbers depend only on `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        let mut generator = SmallRng::seed_from_u64(seed);
        let next = generator.next_u64();
        Self { generator, next }
    }

    /// Returns a generator whose seed differs from process to process and from call to call.
    pub(crate) fn from_entropy() -> Self {
        // The standard library draws its hash keys from the operating system once per thread and
        // changes them with each `RandomState`, so this needs no system call of its own.
        Self::seeded(RandomState::new().hash_one(()))
    }

    /// Returns any of the 2^64 numbers.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        std::mem::replace(&mut self.next, self.generator.next_u64())
    }

    /// Returns a number below `n`, or 0 if `n` is 0. Its bias is below `n` / 2^64.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        self.split(n).0
    }

    /// Returns a number in `[0, 1)`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Returns a number below `n`, and an independent fraction of 2^64 from the same draw.
    #[inline]
    pub(crate) fn split(&mut self, n: usize) -> (usize, u64) {
        scale(self.bits(), n)
    }
}

/// Multiplies a fraction of 2^64 by `n`; returns the whole part and the remaining fraction.
#[inline]
pub(crate) fn scale(fraction: u64, n: usize) -> (usize, u64) {
    let wide = u128::from(fraction) * n as u128;
    ((wide >> 64) as usize, wide as u64)
}
