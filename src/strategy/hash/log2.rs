/// The number of fraction bits of what [`neg_log2`] returns.
const FRACTION_BITS: u32 = 57;
const SEGMENTS: usize = 1 << SEGMENT_BITS;
const SEGMENT_BITS: u32 = 10;
/// The number of bits that locate a number within its segment; those below are ignored.
const STEP_BITS: u32 = 40;

/// Returns -log2(n / 2^64) in units of 2^-57, the same on every platform. The result for 0 is that
/// for 1, and no result is 0.
///
/// All arithmetic is in integers: `f64::ln` may differ in the last bit between platforms. The
/// logarithm is interpolated linearly between 1024 points, so it is off by at most 0.05 %, and it
/// is monotonic.
#[inline]
pub(super) fn neg_log2(n: u64) -> u64 {
    let n = n.max(1);
    let mantissa = n << n.leading_zeros();
    let segment = (mantissa >> (63 - SEGMENT_BITS)) as usize % SEGMENTS;
    let step = (mantissa >> (63 - SEGMENT_BITS - STEP_BITS)) % (1 << STEP_BITS);
    let [start, end] = [LOG2[segment], LOG2[segment + 1]];
    let rise = (u128::from(end - start) * u128::from(step)) >> STEP_BITS;
    (u64::from(n.leading_zeros() + 1) << FRACTION_BITS) - (start + rise as u64)
}

/// log2 of 1 to 2 at equal distances, in the same units.
static LOG2: [u64; SEGMENTS + 1] = {
    let mut table = [0; SEGMENTS + 1];
    let mut segment = 0;
    while segment < SEGMENTS {
        table[segment] = log2((1 << 63) + ((segment as u64) << (63 - SEGMENT_BITS)));
        segment += 1;
    }
    table[SEGMENTS] = 1 << FRACTION_BITS;
    table
};

/// Returns log2(x / 2^63) for an `x` of at least 2^63, bit by bit: each squaring doubles the
/// logarithm.
const fn log2(mut x: u64) -> u64 {
    let (mut log, mut bit) = (0, FRACTION_BITS);
    while bit > 0 {
        bit -= 1;
        let square = x as u128 * x as u128;
        let carry = (square >> 127) as u64;
        x = (square >> (63 + carry)) as u64;
        log |= carry << bit;
    }
    log
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: u64 = 1 << FRACTION_BITS;

    #[test]
    fn powers_of_two_are_exact() {
        for power in 0_u32..64 {
            assert_eq!(neg_log2(1 << power), u64::from(64 - power) * ONE);
        }
        assert_eq!(neg_log2(0), neg_log2(1));
        assert!((1..1 << 17).contains(&neg_log2(u64::MAX)));
    }

    proptest! {
        #[test]
        fn it_is_close_to_the_logarithm(n in 1_u64.., shift in 0_u32..63) {
            let n = n >> shift | 1;
            for n in [n, !(n >> 1)] {
                // Near 2^64 an `f64` cannot hold the number, but it can hold the distance to 2^64.
                let ln = match n >> 63 {
                    0 => (n as f64 / 2_f64.powi(64)).ln(),
                    _ => (-(!n as f64 + 1.0) / 2_f64.powi(64)).ln_1p(),
                };
                let exact = -ln / 2_f64.ln();
                prop_assume!(exact > 1e-10);
                let ours = neg_log2(n) as f64 / ONE as f64;
                prop_assert!((ours / exact - 1.0).abs() < 5.5e-4, "{n}: {ours} for {exact}");
            }
        }

        #[test]
        fn it_never_rises(n: u64, more in 0_u64..1 << 50) {
            for more in [1, more] {
                prop_assert!(neg_log2(n.saturating_add(more)) <= neg_log2(n));
            }
        }
    }
}
