//! The log of the latest load reports, in which [`Freshest`](crate::strategy::Freshest) finds the
//! endpoints that reported last without a look at all of them.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use crate::sync::{Mutex, lock};

/// How many reports back a pick can see.
const LOG_LEN: usize = 128;

/// The latest reports of all endpoints, as the endpoints' numbers.
#[derive(Debug)]
pub(super) struct RecentReports {
    /// A ring buffer of endpoint numbers plus one; 0 where there has been no report yet.
    log: [AtomicU32; LOG_LEN],
    /// The number of reports so far. The next one is stored at this number modulo `LOG_LEN`.
    count: AtomicUsize,
    numbers: Mutex<Numbers>,
}

/// The numbers that endpoints have. Those of removed endpoints are assigned again, so that a table
/// by number stays as small as the set of endpoints.
#[derive(Debug, Default)]
struct Numbers {
    used: u32,
    free: Vec<u32>,
}

impl Default for RecentReports {
    fn default() -> Self {
        Self {
            log: [const { AtomicU32::new(0) }; LOG_LEN],
            count: AtomicUsize::new(0),
            numbers: Mutex::default(),
        }
    }
}

impl RecentReports {
    /// Assigns a number to a new endpoint.
    pub(super) fn assign(self: &Arc<Self>) -> EndpointNumber {
        let mut numbers = lock(&self.numbers);
        let number = numbers.free.pop().unwrap_or_else(|| {
            numbers.used += 1;
            numbers.used - 1
        });
        EndpointNumber { number, recent: Arc::clone(self) }
    }

    /// Returns the number of reports so far.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the numbers of the endpoints that reported, the latest first, once for each report.
    ///
    /// A report that is being recorded may be missing, or an older one may appear in its place. A
    /// pick is a choice among estimates anyway, so relaxed loads are enough.
    #[inline]
    pub(super) fn latest(&self) -> impl Iterator<Item = u32> {
        let count = self.count();
        let back = (1..=LOG_LEN).map(move |back| &self.log[count.wrapping_sub(back) % LOG_LEN]);
        back.filter_map(|report| report.load(Ordering::Relaxed).checked_sub(1))
    }
}

/// The number of an endpoint in the log. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct EndpointNumber {
    number: u32,
    recent: Arc<RecentReports>,
}

impl EndpointNumber {
    /// Returns the number if `recent` assigned it.
    pub(super) fn among(&self, recent: &Arc<RecentReports>) -> Option<u32> {
        Arc::ptr_eq(&self.recent, recent).then_some(self.number)
    }

    /// Records a report of the endpoint. Returns the number of reports before it.
    pub(super) fn record(&self) -> usize {
        let before = self.recent.count.fetch_add(1, Ordering::Relaxed);
        self.recent.log[before % LOG_LEN].store(self.number + 1, Ordering::Relaxed);
        before
    }
}

impl Drop for EndpointNumber {
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
        let recent = Arc::new(RecentReports::default());
        assert_eq!(recent.latest().count(), 0);
        let [a, b] = [recent.assign(), recent.assign()];
        assert_eq!([&a, &b, &a].map(EndpointNumber::record), [0, 1, 2]);
        assert_eq!(recent.latest().collect::<Vec<_>>(), [0, 1, 0]);
        (0..LOG_LEN).for_each(|_| _ = b.record());
        assert!(recent.latest().all(|number| Some(number) == b.among(&recent)));
        assert_eq!(b.among(&Arc::default()), None);
        assert_eq!(recent.latest().count(), LOG_LEN);
    }

    #[test]
    fn numbers_are_assigned_again() {
        let recent = Arc::new(RecentReports::default());
        let numbers: Vec<_> = (0..3).map(|_| recent.assign()).collect();
        drop(numbers);
        let mut again: Vec<_> = (0..4).map(|_| recent.assign()).collect();
        again.sort_by_key(|number| number.number);
        assert!(again.iter().map(|number| number.number).eq(0..4));
    }
}
