use std::sync::Arc;

use super::{
    hash_order::{HashEntry, HashOrder, Memo, Memoized},
    rank,
};
use crate::{
    hash::mix,
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, HashKey, Pick, PickContext, Rank, Rng, Strategy,
    },
};

/// Ring hashing, also known as ketama: each endpoint has points on a ring, by weight, and a key belongs
/// to the next point after its hash.
///
/// When an endpoint goes, only its keys move, and when one comes, or its weight rises, keys move only
/// to it, as with [`Rendezvous`](crate::strategy::Rendezvous), but in a time that hardly depends on how many
/// endpoints there are. The price is unevenness: with the 100 points that an endpoint of weight 1 has
/// by default, its share is off by 10 % as a rule. A point takes up to 12 bytes.
///
/// # Points
///
/// An endpoint of weight w has w x [`points`](Self::points) / [`unit`](Self::unit) points, rounded up:
/// its own weight decides and nobody else's, which is what keeps other keys in place. There are limits
/// to that: 1 310 720 points altogether, and 32 768 for each endpoint on average. Where they would be
/// exceeded everybody's number of points is halved, as often as needed, to no less than one; it is
/// the later half of each one's points that goes, and some keys move wherever they were.
///
/// An endpoint is known by its name, or by its label `hash_key` if it has one. Where points of several
/// coincide, as with the same label, the one whose name hashes lowest, or comes first, gets the keys.
///
/// Source: Karger et al. (1997), and libketama. Where we differ from Envoy and gRPC: they fix the
/// size of the ring, so that everybody's points come and go with each endpoint, and up to 9 % of the
/// keys with them.
#[derive(Clone, Debug)]
pub struct Ring<K> {
    key: Arc<K>,
    points: u32,
    unit: u32,
    memo: Memo<Points>,
}

impl<K> Ring<K> {
    /// Sends requests of the same key to the same endpoint.
    pub fn new(key: K) -> Self {
        Self { key: Arc::new(key), points: 100, unit: 1, memo: Memo::new() }
    }

    /// How many points an endpoint has for each [`unit`](Self::unit) of weight. Default 100; 0 counts
    /// as 1. Shares are off by one part in the square root of it, and memory, and the time for a
    /// change, are in proportion.
    #[must_use]
    pub fn points(mut self, points: u32) -> Self {
        self.points = points.max(1);
        self
    }

    /// The weight that stands for so many [`points`](Self::points): 100 if weights are percentages.
    /// Default 1; 0 counts as 1.
    #[must_use]
    pub fn unit(mut self, weight: u32) -> Self {
        self.unit = weight.max(1);
        self
    }
}

impl<K> Strategy for Ring<K> {
    type Picker = RingPicker<K>;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<Self::Picker> {
        let places = HashOrder::new(candidates);
        let memo = self.memo.table(&places, |seats| Points::new(seats, self.points, self.unit));
        let picker = RingPicker { places, memo, key: Arc::clone(&self.key) };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        None
    }
}

/// The picker of [`Ring`].
#[derive(Debug)]
pub struct RingPicker<K> {
    places: HashOrder,
    memo: Arc<Memoized<Points>>,
    key: Arc<K>,
}

/// Points that are passed before every candidate is looked at.
const STEPS: usize = 64;

impl<K> RingPicker<K> {
    /// The owner of the first point was not accepted.
    #[cold]
    fn next(&self, hash: u64, mut accepts: impl FnMut(&Candidate) -> bool) -> Option<&Candidate> {
        let owners = self.memo.table.owners_from(hash).take(STEPS);
        owners
            .filter_map(|place| self.places.get(place))
            .find(|candidate| accepts(candidate))
            .or_else(|| self.places.draw(hash, accepts))
    }
}

impl<K: HashKey<Req>, Req> Rank<Req> for RingPicker<K> {
    #[inline]
    fn hash(&self, request: &Req, rng: &mut Rng) -> u64 {
        rank::hash(&*self.key, request, rng)
    }

    #[inline]
    fn highest(
        &self,
        hash: u64,
        mut accepts: impl FnMut(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let first = self.places.get(self.memo.table.owners_from(hash).next()?)?;
        if accepts(first) { Some(first) } else { self.next(hash, accepts) }
    }
}

impl<K: HashKey<Req>, Req> Pick<Req> for RingPicker<K> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        rank::pick(self, request, context)
    }
}

/// The points of the ring, in order.
#[derive(Clone, Debug)]
struct Points {
    /// Where it is in the upper bits, whose it is in the lower ones.
    points: Box<[u64]>,
    /// For each of as many equal parts of the ring, a power of two, the first point in it or after it;
    /// and the number of points.
    guide: Box<[u32]>,
    /// What is left of a hash when shifted so far is the part.
    shift: u32,
}

const OWNER_BITS: u32 = 24;
const OWNER: u64 = (1 << OWNER_BITS) - 1;

/// Points in a part of the guide.
const PER_PART: usize = 2;

const MAX_POINTS: u64 = 5 << 18;
const MAX_POINTS_EACH: u64 = 1 << 15;

impl Points {
    fn new(seats: &[HashEntry], points: u32, unit: u32) -> Self {
        let seats = &seats[..seats.len().min(OWNER as usize)];
        let counts = counts(seats, points, unit);
        let total: u32 = counts.iter().sum();
        let parts = (total as usize / PER_PART).next_power_of_two().max(2);
        let shift = u64::BITS - parts.trailing_zeros();
        let each_point = || {
            let owned = seats.iter().zip(&counts).zip(0_u64..=OWNER);
            owned.flat_map(|((seat, &count), place)| {
                let nth = |n: u32| mix(seat.hash.wrapping_add(u64::from(n).wrapping_mul(STRIDE)));
                (0..count).map(move |n| nth(n) & !OWNER | place)
            })
        };
        // Points are random, so sorting is putting each into its part, and a few into order there.
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

    /// Whose points follow a hash, once around. The same may come up again.
    #[inline]
    fn owners_from(&self, hash: u64) -> impl Iterator<Item = usize> {
        let mut first = self.guide[(hash >> self.shift) as usize] as usize;
        while self.points.get(first).is_some_and(|&point| point < hash & !OWNER) {
            first += 1;
        }
        let (before, after) = self.points.split_at(first);
        after.iter().chain(before).map(|point| (point & OWNER) as usize)
    }
}

/// Between the seeds of an endpoint's points; odd.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// How many points each has.
fn counts(seats: &[HashEntry], points: u32, unit: u32) -> Vec<u32> {
    let count =
        |seat: &HashEntry| (u64::from(seat.weight) * u64::from(points)).div_ceil(unit.into());
    let wanted: Vec<u64> = seats.iter().map(count).collect();
    let len = seats.len() as u64;
    let limit = MAX_POINTS.min(len * MAX_POINTS_EACH).max(len);
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

    fn seats(weights: &[u32]) -> Vec<HashEntry> {
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
            let ring = Points::new(&seats(&weights), points, 1);
            prop_assert!(ring.points.is_sorted());
            let next = ring.points.iter().position(|point| point >> OWNER_BITS >= hash >> OWNER_BITS);
            let order = ring.points.iter().map(|point| (point & OWNER) as usize);
            let expected: Vec<_> =
                order.cycle().skip(next.unwrap_or_default()).take(ring.points.len()).collect();
            prop_assert_eq!(ring.owners_from(hash).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_endless_hash_wraps_around() {
        let ring = Points::new(&seats(&[1, 1]), 10, 1);
        assert_eq!(ring.owners_from(u64::MAX).count(), 20);
        assert_eq!(ring.owners_from(u64::MAX).next(), ring.owners_from(0).next());
        assert_eq!(Points::new(&[], 10, 1).owners_from(7).next(), None);
    }

    #[test]
    fn points_follow_the_own_weight_until_they_are_too_many() {
        assert_eq!(counts(&seats(&[1, 3]), 100, 1), [100, 300]);
        assert_eq!(counts(&seats(&[100, 50, 1]), 160, 100), [160, 80, 2]);
        assert_eq!(counts(&seats(&[1, 1]), 1, 100), [1, 1]);
        // 65 535 each are halved to fit 32 768 on average.
        assert_eq!(counts(&seats(&[65_535; 3]), 1, 1), [32_767; 3]);
        let huge = counts(&seats(&[u32::MAX, 1, u32::MAX]), u32::MAX, 1);
        assert_eq!(huge, [32_767, 1, 32_767]);
        let many = counts(&seats(&vec![1; 100_000]), 100, 1);
        assert_eq!(many, [12; 100_000]);
    }
}
