//! When a collection whose length has fallen returns memory.

/// Collections of at most this capacity are not shrunk.
const MIN_CAPACITY: usize = 64;

/// Returns the capacity to shrink to, if less than a quarter of the capacity is in use.
///
/// Half of the new capacity is then in use, so that shrinking takes constant time per removal.
pub(crate) fn shrunk(len: usize, capacity: usize) -> Option<usize> {
    (capacity > MIN_CAPACITY && len < capacity / 4).then_some(2 * len)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_collection_shrinks_seldom_and_far_enough() {
        let mut set: HashSet<u32> = (0..100_000).collect();
        let mut times = 0;
        for key in 0..100_000 {
            set.remove(&key);
            if let Some(capacity) = shrunk(set.len(), set.capacity()) {
                set.shrink_to(capacity);
                times += 1;
            }
            assert!(set.capacity() <= (8 * set.len()).max(MIN_CAPACITY), "{}", set.len());
        }
        assert!(times < 20, "{times}");
    }
}
