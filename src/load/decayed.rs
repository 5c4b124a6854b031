use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A value and the time at which it was set, in one atomic word: no reader sees one without the
/// other, and no lock is needed.
///
/// The value is an `f32`. The time is the age of the endpoint's statistics in ticks of 2^18 ns
/// (0.26 ms). Ticks wrap around after 13 days: a value that was not set for that long looks newer
/// than it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Decayed {
    pub(crate) value: f32,
    ticks: u32,
}

pub(super) const TICK_BITS: u32 = 18;
/// How far in the future a value may be set: one hour, in ticks.
const MAX_TICKS_AHEAD: u32 = ((3600 * 1_000_000_000_u64) >> TICK_BITS) as u32;
pub(super) const TICK_SECONDS: f64 = (1_u64 << TICK_BITS) as f64 / 1e9;

impl Decayed {
    #[inline]
    pub(crate) fn new(value: f32, age: u64) -> Self {
        Self { value, ticks: ticks(age) }
    }

    /// Returns a cell with a value that is not a number, for values of which 0 is one.
    pub(crate) fn empty_cell() -> AtomicU64 {
        AtomicU64::new(Self { value: f32::NAN, ticks: 0 }.pack())
    }

    #[inline]
    pub(crate) fn load(cell: &AtomicU64) -> Self {
        Self::unpack(cell.load(Ordering::Relaxed))
    }

    /// Replaces the value by the result of `update`, unless that is `None`.
    #[inline]
    pub(crate) fn update(cell: &AtomicU64, mut update: impl FnMut(Self) -> Option<Self>) {
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            // A busy endpoint ends many requests per tick, most of which change nothing.
            update(Self::unpack(bits)).map(Self::pack).filter(|&updated| updated != bits)
        });
    }

    /// Returns the seconds from when the value was set to `age` (in nanoseconds), or 0 if `age` is
    /// earlier.
    #[inline]
    pub(crate) fn seconds_since(self, age: u64) -> f64 {
        let passed = ticks(age).wrapping_sub(self.ticks);
        // The difference wraps around if the value was set for later than `age`.
        let is_later = passed > u32::MAX - MAX_TICKS_AHEAD;
        f64::from(if is_later { 0 } else { passed }) * TICK_SECONDS
    }

    fn pack(self) -> u64 {
        u64::from(self.value.to_bits()) << 32 | u64::from(self.ticks)
    }

    fn unpack(bits: u64) -> Self {
        Self { value: f32::from_bits((bits >> 32) as u32), ticks: bits as u32 }
    }
}

/// An `f32` in an atomic word. All accesses are relaxed: each value stands alone.
#[derive(Debug, Default)]
pub(super) struct AtomicF32(AtomicU32);

impl AtomicF32 {
    pub(super) const fn zero() -> Self {
        Self(AtomicU32::new(0))
    }

    #[inline]
    pub(super) fn load(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn store(&self, value: f32) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl From<f32> for AtomicF32 {
    fn from(value: f32) -> Self {
        Self(AtomicU32::new(value.to_bits()))
    }
}

/// Returns `e^-x` for `x >= 0`, with a relative error of at most 0.0002, or 0 if the result is
/// below 10^-300. The exact function of the standard library costs as much as the rest of a score.
///
/// `e^-x = 2^n * 2^f` with `n + f = -x * log2(e)`, an integer `n` and `0 <= f <= 1`. The exponent
/// bits of the result hold `n`; a cubic polynomial approximates `2^f`.
#[inline]
pub(crate) fn exp_neg(x: f64) -> f64 {
    /// A sum with this number has no bits below 1, so it rounds the other operand (below 2^51) to
    /// an integer, which is then in the lowest bits of the sum.
    const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;
    let power = -x * std::f64::consts::LOG2_E;
    if power.is_nan() || power < -1000.0 {
        return 0.0;
    }
    let rounded = power - 0.5 + ROUND;
    let whole = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let part = power - (rounded - ROUND);
    // 2^part, exact at 0 and 1, so that the function is continuous.
    let two_to_part = 1.0 + part + part * (part - 1.0) * (0.3038 + 0.0788 * part);
    f64::from_bits(whole.wrapping_add(1023) << 52) * two_to_part
}

/// Returns the greater number, or `b` if `a` is not a number. Takes one instruction; `f64::max`
/// takes more, because it accepts NaN on either side.
#[inline]
pub(crate) fn greater(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Returns the lesser number, or `b` if `a` is not a number. Takes one instruction, as [`greater`]
/// does.
#[inline]
pub(crate) fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// Converts an `age` in nanoseconds.
#[inline]
fn ticks(age: u64) -> u32 {
    (age >> TICK_BITS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn value_and_time_survive_packing() {
        let cell = AtomicU64::new(0);
        assert_eq!(Decayed::load(&cell), Decayed::default());
        Decayed::update(&cell, |_| Some(Decayed::new(0.25, 3 * SECOND)));
        let loaded = Decayed::load(&cell);
        assert_eq!(loaded.value, 0.25);
        let passed = loaded.seconds_since(4 * SECOND + SECOND / 2);
        assert!((passed - 1.5).abs() < 0.001, "{passed}");
    }

    #[test]
    fn the_quick_exponential_function_is_close() {
        for x in (0..95_000).map(|step| f64::from(step) * 0.007) {
            let (quick, exact) = (exp_neg(x), (-x).exp());
            assert!((quick - exact).abs() <= 2e-4 * exact, "{x}: {quick} is not {exact}");
        }
        assert_eq!([1e9, f64::INFINITY, f64::NAN].map(exp_neg), [0.0; 3]);
    }

    #[test]
    fn twelve_days_are_measured_exactly() {
        let (decayed, days) = (Decayed::new(1.0, 3 * SECOND), 12 * 24 * 3600);
        let passed = decayed.seconds_since((3 + days) * SECOND);
        assert!((passed / days as f64 - 1.0).abs() < 1e-6, "{passed}");
    }

    #[test]
    fn a_clock_that_steps_back_passes_no_time() {
        let decayed = Decayed::new(1.0, 3 * SECOND);
        assert_eq!(decayed.seconds_since(2 * SECOND), 0.0);
    }
}
