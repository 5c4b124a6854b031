use std::sync::Arc;

use super::{
    hash_order::{HashEntry, HashOrder, Memo},
    hash_picker::{HashPicker, Table},
};
use crate::{
    ConfigError,
    hash::mix,
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, Strategy},
};

/// Ring hashing, also known as ketama: each endpoint has points on a ring, by weight, and a key
/// belongs to the owner of the next point after its hash.
///
/// When an endpoint is removed, only its keys move. When one is added, or its weight rises, keys
/// move only to it. [`Rendezvous`](crate::strategy::Rendezvous) does the same, but the time of a
/// pick in a ring hardly depends on the number of endpoints. The price is unevenness: with the
/// default of 100 points, the share of an endpoint of weight 1 is typically off by 10 %. A point
/// takes up to 12 bytes.
///
/// # Points
///
/// An endpoint of weight w has w x [`points`](Self::points) / [`unit`](Self::unit) points, rounded
/// up. The number depends on its own weight only, which keeps the keys of others in place.
///
/// There are two limits: 1 310 720 points in all, and 32 768 for each endpoint on average. If they
/// would be exceeded, every endpoint's number of points is halved, as often as needed, to no less
/// than one. The later half of each endpoint's points is removed, and some keys of every endpoint
/// move.
///
/// An endpoint is identified by its label `hash_key`, or by its name if it has no such label. Where
/// points of several endpoints coincide, as with the same label, the endpoint whose name hashes
/// lowest gets the keys; of equal hashes, the first by name.
///
/// Source: Karger et al. (1997), and libketama. Where this differs from Envoy and gRPC: they fix
/// the size of the ring, so that with each added or removed endpoint the points of all change, and
/// up to 9 % of the keys move with them.
#[derive(Clone, Debug)]
pub struct Ring<K> {
    key: Arc<K>,
    points: u32,
    unit: u32,
    memo: Memo<RingPoints>,
}

impl<K> Ring<K> {
    /// Sends requests of the same key to the same endpoint.
    pub fn new(key: K) -> Self {
        Self { key: Arc::new(key), points: 100, unit: 1, memo: Memo::new() }
    }

    /// Sets how many points an endpoint has for each [`unit`](Self::unit) of weight. Default 100.
    ///
    /// Shares are off by about 1 / √`points`. Memory, and the time that a change takes, are in
    /// proportion to `points`.
    ///
    /// # Errors
    ///
    /// If `points` is 0.
    pub fn points(mut self, points: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("points", points.into())?;
        self.points = points;
        Ok(self)
    }

    /// Sets the weight that stands for [`points`](Self::points) points: 100 if weights are
    /// percentages. Default 1.
    ///
    /// # Errors
    ///
    /// If `weight` is 0.
    pub fn unit(mut self, weight: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("unit", weight.into())?;
        self.unit = weight;
        Ok(self)
    }
}

impl<K> Strategy for Ring<K> {
    type Picker = HashPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<HashPicker<K>> {
        let (order, key) = (HashOrder::new(candidates), Arc::clone(&self.key));
        let build = |entries: &[HashEntry]| RingPoints::new(entries, self.points, self.unit);
        let memo = self.memo.table(&order, build);
        Built::new(HashPicker { key, order, table: Table::Ring(memo) }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// How many points a pick visits before it draws among all candidates.
pub(super) const MAX_POINTS_VISITED: usize = 64;

/// The points of the ring, in ascending order.
#[derive(Clone, Debug)]
pub(super) struct RingPoints {
    /// The upper bits of a point are its position, the lower ones its owner's index in the
    /// [`HashOrder`].
    points: Box<[u64]>,
    /// The ring is divided into a power of two of equal parts. For each part, the index of the
    /// first point in it or after it; then the number of points.
    guide: Box<[u32]>,
    /// A hash shifted right by this is the index of its part.
    shift: u32,
}

const OWNER_BITS: u32 = 24;
const OWNER_MASK: u64 = (1 << OWNER_BITS) - 1;

const POINTS_PER_PART: usize = 2;

const MAX_POINTS: u64 = 5 << 18;
const MAX_POINTS_PER_ENDPOINT: u64 = 1 << 15;

/// The distance between the seeds of an endpoint's points; odd, so that the seeds are distinct.
const SEED_STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

impl RingPoints {
    fn new(entries: &[HashEntry], points: u32, unit: u32) -> Self {
        let entries = &entries[..entries.len().min(OWNER_MASK as usize)];
        let counts = counts(entries, points, unit);
        let total: u32 = counts.iter().sum();
        let parts = (total as usize / POINTS_PER_PART).next_power_of_two().max(2);
        let shift = u64::BITS - parts.trailing_zeros();
        let each_point = || {
            let owned = entries.iter().zip(&counts).zip(0_u64..=OWNER_MASK);
            owned.flat_map(|((entry, &count), owner)| {
                let seed = |n: u32| u64::from(n).wrapping_mul(SEED_STRIDE);
                let position = move |n| mix(entry.hash.wrapping_add(seed(n))) & !OWNER_MASK;
                (0..count).map(move |n| position(n) | owner)
            })
        };
        // Positions are random, so a counting sort by part leaves only a few points to sort in
        // each. First `guide` counts the points of each part; then it holds where each part ends,
        // and falls to where the part starts while the points are put in.
        let mut guide = vec![0; parts + 1].into_boxed_slice();
        each_point().for_each(|point| guide[(point >> shift) as usize] += 1);
        let mut end = 0;
        for part in &mut guide {
            end += *part;
            *part = end;
        }
        let mut sorted = vec![0; total as usize].into_boxed_slice();
        for point in each_point() {
            let next = &mut guide[(point >> shift) as usize];
            *next -= 1;
            sorted[*next as usize] = point;
        }
        for part in guide.windows(2) {
            sorted[part[0] as usize..part[1] as usize].sort_unstable();
        }
        Self { points: sorted, guide, shift }
    }

    /// Returns the owners of the points from `hash` on, once around the ring. An owner is returned
    /// once for each of its points.
    #[inline]
    pub(super) fn owners_from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let mut first = self.guide[(hash >> self.shift) as usize] as usize;
        while self.points.get(first).is_some_and(|&point| point < hash & !OWNER_MASK) {
            first += 1;
        }
        let (before, after) = self.points.split_at(first);
        after.iter().chain(before).map(|point| (point & OWNER_MASK) as usize)
    }
}

/// Returns the number of points of each endpoint.
fn counts(entries: &[HashEntry], points: u32, unit: u32) -> Vec<u32> {
    let count =
        |entry: &HashEntry| (u64::from(entry.weight) * u64::from(points)).div_ceil(unit.into());
    let wanted: Vec<u64> = entries.iter().map(count).collect();
    let len = entries.len() as u64;
    // With more endpoints than `MAX_POINTS`, each still has a point.
    let limit = MAX_POINTS.min(len * MAX_POINTS_PER_ENDPOINT).max(len);
    let halved = |halvings: u32| wanted.iter().map(move |&count| (count >> halvings).max(1));
    let fits = |&halvings: &u32| {
        halved(halvings)
            .try_fold(0_u64, |sum, count| sum.checked_add(count))
            .is_some_and(|sum| sum <= limit)
    };
    let halvings = (0..u64::BITS - 1).find(fits).unwrap_or(u64::BITS - 1);
    halved(halvings).map(|count| count as u32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(weights: &[u32]) -> Vec<HashEntry> {
        weights.iter().zip(0..).map(|(&weight, n)| HashEntry { hash: mix(n), weight }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_guide_leads_to_the_next_point(
            weights in prop::collection::vec(1_u32..5, 1..20),
            points in 1_u32..50,
            hash: u64,
        ) {
            let ring = RingPoints::new(&entries(&weights), points, 1);
            prop_assert!(ring.points.is_sorted());
            let next = ring.points.iter().position(|point| point >> OWNER_BITS >= hash >> OWNER_BITS);
            let order = ring.points.iter().map(|point| (point & OWNER_MASK) as usize);
            let expected: Vec<_> =
                order.cycle().skip(next.unwrap_or_default()).take(ring.points.len()).collect();
            prop_assert_eq!(ring.owners_from(hash).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_hash_after_the_last_point_wraps_around() {
        let ring = RingPoints::new(&entries(&[1, 1]), 10, 1);
        assert_eq!(ring.owners_from(u64::MAX).count(), 20);
        assert_eq!(ring.owners_from(u64::MAX).next(), ring.owners_from(0).next());
        assert_eq!(RingPoints::new(&[], 10, 1).owners_from(7).next(), None);
    }

    #[test]
    fn points_follow_the_weight_until_there_are_too_many() {
        assert_eq!(counts(&entries(&[1, 3]), 100, 1), [100, 300]);
        assert_eq!(counts(&entries(&[100, 50, 1]), 160, 100), [160, 80, 2]);
        assert_eq!(counts(&entries(&[1, 1]), 1, 100), [1, 1]);
        // 65 535 each are halved to fit 32 768 on average.
        assert_eq!(counts(&entries(&[65_535; 3]), 1, 1), [32_767; 3]);
        let huge = counts(&entries(&[u32::MAX, 1, u32::MAX]), u32::MAX, 1);
        assert_eq!(huge, [32_767, 1, 32_767]);
        let many = counts(&entries(&vec![1; 100_000]), 100, 1);
        assert_eq!(many, [12; 100_000]);
    }
}
