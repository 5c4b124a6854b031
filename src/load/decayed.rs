use std::sync::atomic::{AtomicU64, Ordering};

/// A value and the time it was set, in one atomic word, so that neither is ever seen without the
/// other and no lock is needed.
///
/// The value is an `f32`; the time is the age of the vitals in ticks of 2^18 ns (0.26 ms), which
/// wrap around after 13 days: one that was not touched for that long looks newer than it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Decayed {
    pub(crate) value: f32,
    ticks: u32,
}

const TICK_BITS: u32 = 18;
/// A value may be set for later by so many ticks, which is an hour.
const AHEAD: u32 = ((3600 * 1_000_000_000_u64) >> TICK_BITS) as u32;
const TICK_SECONDS: f64 = (1_u64 << TICK_BITS) as f64 / 1e9;

impl Decayed {
    #[inline]
    pub(crate) fn new(value: f32, age: u64) -> Self {
        Self { value, ticks: ticks(age) }
    }

    #[inline]
    pub(crate) fn load(cell: &AtomicU64) -> Self {
        Self::unpack(cell.load(Ordering::Relaxed))
    }

    /// Replaces the value by what `update` makes of it; `None` leaves it as it is.
    pub(crate) fn update(cell: &AtomicU64, mut update: impl FnMut(Self) -> Option<Self>) {
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            update(Self::unpack(bits)).map(Self::pack)
        });
    }

    /// Seconds from when the value was set until `age`, in nanoseconds; 0 if that lies before.
    #[inline]
    pub(crate) fn seconds_since(self, age: u64) -> f64 {
        let passed = ticks(age).wrapping_sub(self.ticks);
        let before = passed > u32::MAX - AHEAD;
        f64::from(if before { 0 } else { passed }) * TICK_SECONDS
    }

    fn pack(self) -> u64 {
        u64::from(self.value.to_bits()) << 32 | u64::from(self.ticks)
    }

    fn unpack(bits: u64) -> Self {
        Self { value: f32::from_bits((bits >> 32) as u32), ticks: bits as u32 }
    }
}

/// e^-x for an x of at least 0, to within 2 in ten thousand, and 0 beyond 10^-300. The
/// system's function, which is exact, costs as much as the rest of a look at an endpoint.
#[inline]
pub(crate) fn exp_neg(x: f64) -> f64 {
    /// Added to a number below 2^51, leaves it rounded to an integer in the lowest bits.
    const ROUND: f64 = 1.5 * (1_u64 << 52) as f64;
    let power = -x * std::f64::consts::LOG2_E;
    if power.is_nan() || power < -1000.0 {
        return 0.0;
    }
    let rounded = power - 0.5 + ROUND;
    let whole = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let part = power - (rounded - ROUND);
    // 2^part: exact at 0 and 1, where the pieces meet.
    let bent = 1.0 + part + part * (part - 1.0) * (0.3038 + 0.0788 * part);
    f64::from_bits(whole.wrapping_add(1023) << 52) * bent
}

/// Returns the greater number, `b` if `a` is not a number. Takes one instruction; `f64::max` takes more,
/// to accept a NaN on either side.
#[inline]
pub(crate) fn greater(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// Returns the lesser number, `b` if `a` is not a number. Takes one instruction, as [`greater`].
#[inline]
pub(crate) fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// `age` in nanoseconds.
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
    fn twelve_days_are_twelve_days() {
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
