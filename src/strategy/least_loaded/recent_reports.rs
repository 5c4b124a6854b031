//! Which endpoints have reported last, for [`Freshest`](crate::strategy::Freshest): found without a look at all.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use crate::sync::{Mutex, lock};

/// How many reports back a pick can see.
const SEEN: usize = 128;

/// The latest reports of all endpoints, by the endpoints' numbers.
#[derive(Debug)]
pub(super) struct Recent {
    /// Numbers plus one; 0 where there has been no report yet.
    reports: [AtomicU32; SEEN],
    next: AtomicUsize,
    numbers: Mutex<Numbers>,
}

/// Those of endpoints that are gone are given to others.
#[derive(Debug, Default)]
struct Numbers {
    used: u32,
    free: Vec<u32>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            reports: [const { AtomicU32::new(0) }; SEEN],
            next: AtomicUsize::new(0),
            numbers: Mutex::default(),
        }
    }
}

impl Recent {
    pub(super) fn number(self: &Arc<Self>) -> Number {
        let mut numbers = lock(&self.numbers);
        let number = numbers.free.pop().unwrap_or_else(|| {
            numbers.used += 1;
            numbers.used - 1
        });
        Number { number, recent: Arc::clone(self) }
    }

    /// How many reports there have been.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.next.load(Ordering::Relaxed)
    }

    /// The numbers of those that reported, the latest first, over and over.
    #[inline]
    pub(super) fn latest(&self) -> impl Iterator<Item = u32> {
        let next = self.count();
        let back = (1..=SEEN).map(move |back| &self.reports[next.wrapping_sub(back) % SEEN]);
        back.filter_map(|report| report.load(Ordering::Relaxed).checked_sub(1))
    }
}

/// The number of an endpoint among all that are there.
#[derive(Debug)]
pub(super) struct Number {
    number: u32,
    recent: Arc<Recent>,
}

impl Number {
    /// The number, if these gave it.
    pub(super) fn among(&self, recent: &Arc<Recent>) -> Option<u32> {
        Arc::ptr_eq(&self.recent, recent).then_some(self.number)
    }

    /// The endpoint has reported. Tells how many reports there were before.
    pub(super) fn reported(&self) -> usize {
        let before = self.recent.next.fetch_add(1, Ordering::Relaxed);
        self.recent.reports[before % SEEN].store(self.number + 1, Ordering::Relaxed);
        before
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        let mut numbers = lock(&self.recent.numbers);
        numbers.free.push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_and_the_oldest_are_forgotten() {
        let recent = Arc::new(Recent::default());
        assert_eq!(recent.latest().count(), 0);
        let [a, b] = [recent.number(), recent.number()];
        assert_eq!([&a, &b, &a].map(Number::reported), [0, 1, 2]);
        assert_eq!(recent.latest().collect::<Vec<_>>(), [0, 1, 0]);
        (0..SEEN).for_each(|_| _ = b.reported());
        assert!(recent.latest().all(|number| Some(number) == b.among(&recent)));
        assert_eq!(b.among(&Arc::default()), None);
        assert_eq!(recent.latest().count(), SEEN);
    }

    #[test]
    fn numbers_are_used_again() {
        let recent = Arc::new(Recent::default());
        let numbers: Vec<_> = (0..3).map(|_| recent.number()).collect();
        drop(numbers);
        let mut again: Vec<_> = (0..4).map(|_| recent.number()).collect();
        again.sort_by_key(|number| number.number);
        assert!(again.iter().map(|number| number.number).eq(0..4));
    }
}
