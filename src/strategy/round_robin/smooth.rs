use std::{cmp::Reverse, collections::BinaryHeap};

/// The longest cycle that is stored, in turns.
const MAX_LEN: i64 = 1 << 16;
/// The most work that is spent on building a cycle, in turns times indexes.
const MAX_STEPS: i64 = 1 << 18;
/// The longest cycle for which the smallest tolerance is searched, in turns.
const MAX_SEARCHED_LEN: i64 = 1 << 12;

/// Returns one cycle of smooth weighted turns, or `None` if it would be too long to store.
///
/// Each index occurs as often as its weight divided by the weights' greatest common divisor. After
/// any number of turns, each is less than one turn ahead of its share or behind it, and no cycle
/// has a smaller maximum deviation (of more than 4096 turns: not much smaller). The cycle of
/// weights 5, 1, 1 is 0 0 1 0 2 0 0.
///
/// Source: Steiner and Yeomans, "Level schedules for mixed-model, just-in-time processes" (1993).
/// A tolerance gives each turn of an index an earliest and a latest place in the cycle. Filling
/// each place with the turn that has the earliest deadline finds a cycle if there is one, and a
/// binary search finds the smallest tolerance. It is at most that of Tijdeman, "The chairman
/// assignment problem" (1980): 1 - 1 / (2n - 2) turns for n indexes. Of equal deadlines the turn
/// that is most overdue comes first, then the lightest index; this makes the cycles of simple
/// weights those of nginx. Where this differs from nginx, which selects the index that lags most:
/// there, with weights like 16, 1, 16, 1, 1, 16, an index falls more than a turn behind.
pub(super) fn cycle(weights: &[u32]) -> Option<Box<[u32]>> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let shares: Vec<Share> = (0..)
        .zip(weights)
        .filter(|&(_, &weight)| weight > 0)
        .map(|(index, &weight)| Share { index, weight: i64::from(weight / divisor) })
        .collect();
    let total = shares.iter().map(|one| one.weight).sum();
    if total == 0 || total > MAX_LEN || total * weights.len() as i64 > MAX_STEPS {
        return None;
    }
    // Tolerances are in units of 1 / `total` turns, of which all deviations are multiples.
    let slack = 2 * (shares.len() as i64 - 1).max(1);
    let mut enough = total - (total + slack - 1) / slack;
    let mut best = cycle_within(enough, &shares, total)?;
    let mut too_small = if total > MAX_SEARCHED_LEN { enough - 1 } else { -1 };
    while enough - too_small > 1 {
        let tolerance = (enough + too_small) / 2;
        match cycle_within(tolerance, &shares, total) {
            Some(cycle) => (best, enough) = (cycle, tolerance),
            None => too_small = tolerance,
        }
    }
    Some(best)
}

/// Returns a cycle in which no index deviates from its share by more than `tolerance`, in units of
/// 1 / `total` turns, if there is one.
fn cycle_within(tolerance: i64, shares: &[Share], total: i64) -> Option<Box<[u32]>> {
    let job = |share: usize, number: i64| {
        let weight = shares[share].weight;
        (number < weight).then(|| Job::new(tolerance, total, share, weight, number))
    };
    // At most one turn of each index is in one of the two queues: a later one has a later deadline.
    let mut coming: BinaryHeap<_> = (0..shares.len())
        .filter_map(|share| job(share, 0))
        .map(|job| Reverse((job.from, job)))
        .collect();
    let mut ready = BinaryHeap::with_capacity(shares.len());
    let fill = |place| {
        while coming.peek().is_some_and(|Reverse((from, _))| *from <= place) {
            ready.extend(coming.pop().map(|Reverse((_, job))| Reverse(job)));
        }
        let Reverse(next) = ready.pop()?;
        if next.deadline < place {
            return None;
        }
        coming.extend(job(next.share, next.number + 1).map(|job| Reverse((job.from, job))));
        Some(shares[next.share].index)
    };
    (1..=total).map(fill).collect()
}

/// An index with a weight above 0.
struct Share {
    index: u32,
    weight: i64,
}

/// One turn of an index in the cycle. The order of the fields is that in which turns are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    /// The last place, from 1, at which the index is not too far behind its share.
    deadline: i64,
    /// The middle of the turn's even place, times 2^33 / `total`.
    middle: i64,
    weight: i64,
    share: usize,
    /// How many turns the index has before this one.
    number: i64,
    /// The first place at which the index is not too far ahead of its share.
    from: i64,
}

impl Job {
    fn new(tolerance: i64, total: i64, share: usize, weight: i64, number: i64) -> Self {
        let from = ((number + 1) * total - tolerance + weight - 1) / weight;
        let deadline = (tolerance + number * total) / weight + 1;
        let middle = ((2 * number + 1) << 32) / weight;
        Self { deadline: deadline.min(total), middle, weight, share, number, from: from.max(1) }
    }
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

    #[test]
    fn simple_cycles_are_those_of_nginx() {
        assert_eq!(*cycle(&[1, 2, 3]).unwrap(), [2, 1, 0, 2, 1, 2]);
        assert_eq!(*cycle(&[4, 2, 1]).unwrap(), [0, 1, 0, 2, 0, 1, 0]);
        assert_eq!(*cycle(&[2, 1]).unwrap(), [0, 1, 0]);
        assert_eq!(*cycle(&[0, 0, 7]).unwrap(), [2]);
    }

    /// The smallest maximum deviation of any cycle, found by trying all of them.
    fn least_deviation(weights: &[i64], picks: &mut Vec<i64>, bound: i64) -> i64 {
        let (total, turn) = (weights.iter().sum::<i64>(), picks.iter().sum::<i64>());
        let lags = picks.iter().zip(weights).map(|(picks, weight)| weight * turn - picks * total);
        let deviation = lags.map(i64::abs).max().unwrap_or_default();
        if turn == total || deviation >= bound {
            return deviation;
        }
        let mut best = bound;
        for index in 0..weights.len() {
            if picks[index] < weights[index] {
                picks[index] += 1;
                best = best.min(least_deviation(weights, picks, best).max(deviation));
                picks[index] -= 1;
            }
        }
        best
    }

    #[test]
    fn no_cycle_is_smoother() {
        for weights in [&[1, 2, 3][..], &[4, 2, 1], &[5, 1, 1], &[7, 4, 2], &[2, 3, 5, 1], &[6, 5]]
        {
            let total: i64 = weights.iter().sum();
            let mut lags = vec![0; weights.len()];
            let small: Vec<u32> = weights.iter().map(|&weight| weight as u32).collect();
            let deviations = cycle(&small).unwrap().into_iter().map(|index| {
                lags.iter_mut().zip(weights).for_each(|(lag, weight)| *lag += weight);
                lags[index as usize] -= total;
                lags.iter().copied().map(i64::abs).max().unwrap()
            });
            let best = least_deviation(weights, &mut vec![0; weights.len()], total);
            assert_eq!(deviations.max(), Some(best), "{weights:?}");
        }
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

    #[test]
    fn long_cycles_are_smooth() {
        assert_smooth(&[4000, 93, 2, 1]);
        assert_smooth(&[30_011, 20_011, 10_007, 3]);
        assert_smooth(&(1..60).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn cycles_are_exact_and_smooth(weights in prop::collection::vec(0_u32..20, 1..12)) {
            assert_smooth(&weights);
        }
    }
}
