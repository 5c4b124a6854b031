/// The longest cycle that is stored, in turns.
const MAX_LEN: i64 = 1 << 16;
/// The most work that is spent on building a cycle, in turns times indexes.
const MAX_STEPS: i64 = 1 << 18;

/// Returns one cycle of smooth weighted round robin, or `None` if it would be too long to store.
///
/// Each index occurs as often as its weight divided by the weights' greatest common divisor. After
/// any number of turns, each is less than one turn ahead of its share or behind it. The cycle of
/// weights 5, 1, 1 is 0 0 1 0 2 0 0.
///
/// Source: Tijdeman, "The chairman assignment problem" (1980). In each step, of the indexes that
/// are far enough behind their share, the one that would first be too far behind is selected. Of
/// equals it is the lightest, then the first; this makes the cycles of simple weights those of
/// nginx. Where this differs from nginx, which selects the index that lags most: there, with
/// weights like 16, 1, 16, 1, 1, 16, an index falls more than a turn behind.
pub(super) fn cycle(weights: &[u32]) -> Option<Box<[u32]>> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let mut shares: Vec<Share> = (0..)
        .zip(weights)
        .filter(|&(_, &weight)| weight > 0)
        .map(|(index, &weight)| Share { index, weight: i64::from(weight / divisor), lag: 0 })
        .collect();
    let total = shares.iter().map(|one| one.weight).sum();
    if total == 0 || total > MAX_LEN || total * weights.len() as i64 > MAX_STEPS {
        return None;
    }
    // To stay within integers, lags are in units of 1 / `total` turns, and the paper's tolerance,
    // which is 1 - 1 / `slack` turns, is multiplied by `slack`.
    let slack = 2 * (shares.len() as i64 - 1).max(1);
    let step = |_| {
        shares.iter_mut().for_each(|one| one.lag += one.weight);
        let due = shares.iter_mut().filter(|one| one.lag * slack >= total);
        // The lag that is left until the tolerance; divided by the weight, it is a time. Each side
        // is multiplied by the other's weight instead.
        let left = |one: &Share| i128::from(total * (slack - 1) - one.lag * slack);
        let next = due.min_by(|a, b| {
            let order = (left(a) * i128::from(b.weight)).cmp(&(left(b) * i128::from(a.weight)));
            order.then(a.weight.cmp(&b.weight))
        })?;
        next.lag -= total;
        Some(next.index)
    };
    (0..total).map(step).collect()
}

/// The state of one index while a cycle is built.
struct Share {
    index: u32,
    weight: i64,
    /// How far the index is behind its share; negative if it is ahead.
    lag: i64,
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
    fn cycles_too_long_to_store_are_rejected() {
        assert!(cycle(&[u32::MAX, 1]).is_none());
        assert!(cycle(&[0, 0]).is_none());
        assert!(cycle(&[]).is_none());
        let mut distinct: Vec<u32> = (1..=1000).collect();
        assert!(cycle(&distinct).is_none());
        distinct.truncate(50);
        assert!(cycle(&distinct).is_some());
    }

    /// Found by the property test below when the cycle was nginx's.
    #[test]
    fn no_index_falls_a_turn_behind() {
        assert_smooth(&[16, 1, 16, 1, 1, 16]);
    }

    /// Checks that each index occurs as often as its weight, and that after each step of the cycle
    /// each is less than one turn behind its share or ahead of it.
    fn assert_smooth(weights: &[u32]) {
        let Some(cycle) = cycle(weights) else { return };
        let total: u32 = weights.iter().sum();
        let mut picks = vec![0_u32; weights.len()];
        for (step, &index) in cycle.iter().enumerate() {
            picks[index as usize] += 1;
            for (&picks, &weight) in picks.iter().zip(weights) {
                let share = f64::from(weight) / f64::from(total) * (step + 1) as f64;
                assert!((share - f64::from(picks)).abs() < 1.0, "{picks} of {share}");
            }
        }
        let rounds = cycle.len() as u32;
        for (&picks, &weight) in picks.iter().zip(weights) {
            assert_eq!(u64::from(picks) * u64::from(total), u64::from(weight) * u64::from(rounds));
        }
    }

    proptest! {
        #[test]
        fn cycles_are_exact_and_smooth(weights in prop::collection::vec(0_u32..20, 1..12)) {
            assert_smooth(&weights);
        }
    }
}
