/// Longest sequence, and most work, that is spent on building one.
const MAX_LEN: u64 = 1 << 16;
const MAX_STEPS: u64 = 1 << 18;

/// One cycle of smooth weighted round robin: each index as often as its weight (by their greatest
/// common divisor) says, spread as evenly as can be. 5, 1, 1 gives 0 0 1 0 2 0 0.
///
/// `None` if the cycle would be too long to write down.
///
/// Source: nginx's upstream round robin. In each step every index gains its weight, the largest
/// gain is picked (the first of equals) and pays the sum of the weights.
pub(super) fn cycle(weights: &[u32]) -> Option<Box<[u32]>> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|&weight| u64::from(weight / divisor)).sum();
    if total == 0 || total > MAX_LEN || total * weights.len() as u64 > MAX_STEPS {
        return None;
    }
    let mut gains = vec![0_i64; weights.len()];
    let step = |_| {
        let mut best = 0;
        for (index, &weight) in weights.iter().enumerate() {
            gains[index] += i64::from(weight / divisor);
            if gains[index] > gains[best] {
                best = index;
            }
        }
        gains[best] -= total as i64;
        best as u32
    };
    Some((0..total).map(step).collect())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn five_one_one_is_spread() {
        assert_eq!(*cycle(&[5, 1, 1]).unwrap(), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(cycle(&[500, 100, 100]), cycle(&[5, 1, 1]));
    }

    #[test]
    fn cycles_too_long_to_write_down_are_refused() {
        assert!(cycle(&[u32::MAX, 1]).is_none());
        assert!(cycle(&[0, 0]).is_none());
        assert!(cycle(&[]).is_none());
        let mut distinct: Vec<u32> = (1..=1000).collect();
        assert!(cycle(&distinct).is_none());
        distinct.truncate(50);
        assert!(cycle(&distinct).is_some());
    }

    proptest! {
        /// Every index as often as its weight, and after each step of the cycle nobody is a whole
        /// turn or more behind its share.
        #[test]
        fn cycles_are_exact_and_smooth(weights in prop::collection::vec(0_u32..20, 1..12)) {
            let Some(cycle) = cycle(&weights) else { return Ok(()) };
            let total: u32 = weights.iter().sum();
            let mut picks = vec![0_u32; weights.len()];
            for (step, &index) in cycle.iter().enumerate() {
                picks[index as usize] += 1;
                for (&picks, &weight) in picks.iter().zip(&weights) {
                    let share = f64::from(weight) / f64::from(total) * (step + 1) as f64;
                    prop_assert!((share - f64::from(picks)) < 1.0 + 1e-9);
                }
            }
            let rounds = cycle.len() as u32;
            for (&picks, &weight) in picks.iter().zip(&weights) {
                prop_assert_eq!(u64::from(picks) * u64::from(total), u64::from(weight) * u64::from(rounds));
            }
        }
    }
}
