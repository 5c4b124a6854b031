/// A small, fast generator of random numbers, owned by each clone of a balancer. Not for secrets.
///
/// It is fastrand's (wyrand), whose state is one word: cheap to seed for each clone, and to step.
#[derive(Clone, Debug)]
pub struct Rng {
    generator: fastrand::Rng,
    /// Drawn ahead, so that a pick need not wait for it.
    next: u64,
}

impl Rng {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::new(fastrand::Rng::with_seed(mix(seed)))
    }

    /// Seeded with something that differs from process to process and from call to call.
    pub(crate) fn from_entropy() -> Self {
        Self::new(fastrand::Rng::new())
    }

    fn new(mut generator: fastrand::Rng) -> Self {
        let next = generator.u64(..);
        Self { generator, next }
    }

    /// Any of the 2^64 numbers.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        std::mem::replace(&mut self.next, self.generator.u64(..))
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
        scale(self.bits(), n)
    }
}

/// A fraction of 2^64 times `n`: the whole part, and the fraction that is left.
#[inline]
pub(super) fn scale(fraction: u64, n: usize) -> (usize, u64) {
    let wide = u128::from(fraction) * n as u128;
    ((wide >> 64) as usize, wide as u64)
}

/// Spreads seeds that follow each other over all numbers (splitmix64's finalizer).
#[inline]
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
