use rand::{
    Rng as _, SeedableRng, TryRng as _,
    rngs::{SmallRng, SysRng},
};

/// A small, fast generator of random numbers, owned by each clone of a balancer. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(SmallRng);

impl Rng {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Seeded by the operating system, or by the address of a local if that fails.
    pub(crate) fn from_entropy() -> Self {
        let local = 0_u8;
        let fallback = std::ptr::from_ref(&local).addr() as u64;
        Self::seeded(SysRng.try_next_u64().unwrap_or(fallback))
    }

    /// Any of the 2^64 numbers.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`; 0 if `n` is 0. Its bias is below `n` / 2^64.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        self.split(n).0
    }

    /// A number in `[0, 1)`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number below `n`, and an independent fraction of 2^64 from the same draw.
    #[inline]
    pub(super) fn split(&mut self, n: usize) -> (usize, u64) {
        let wide = u128::from(self.bits()) * n as u128;
        ((wide >> 64) as usize, wide as u64)
    }
}
