use std::sync::atomic::{AtomicU32, Ordering};

/// How bad an endpoint is, which decides which endpoints are ejected while the number is limited.
///
/// Severities are steps and not a number, so that two endpoints that are about equally bad do not
/// replace each other in turns. The thresholds are documented at `OutlierDetection::max_ejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The endpoint is slow, or fails occasionally.
    #[default]
    Mild,
    /// Half of the last 8 requests failed, as under an overload.
    TimingOut,
    /// At most one of the last 16 requests succeeded, and some timed out.
    Hung,
    /// Most of the last 8 requests failed without a timeout.
    Failing,
    /// All of the last 16 requests, or all but one, failed without a timeout.
    Down,
}

/// The results of the last 16 requests, the latest in the lowest bit of each half. The high half
/// has a bit for each that failed, the low half for each that timed out.
#[derive(Debug, Default)]
pub(crate) struct RecentResults(AtomicU32);

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestResult {
    Success,
    Failure,
    Timeout,
}

impl RecentResults {
    /// Writes nothing while no request fails, so that the cache line stays shared between cores.
    #[inline]
    pub(crate) fn record(&self, result: RequestResult) {
        let added = match result {
            RequestResult::Success if self.0.load(Ordering::Relaxed) == 0 => return,
            RequestResult::Success => 0,
            RequestResult::Failure => 1 << 16,
            RequestResult::Timeout => 1 << 16 | 1,
        };
        // The bit that leaves the low half must not enter the high one.
        let shift = |bits: u32| Some((bits << 1) & !(1 << 16) | added);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shift);
    }

    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn severity(&self) -> Severity {
        const ALMOST_ALL_OF_16: u32 = 15;
        let bits = self.0.load(Ordering::Relaxed);
        let (failed, timed_out) = ((bits >> 16) as u16, bits as u16);
        let without_timeout = failed & !timed_out;
        let of_last_8 = |which: u16| (which & 0xff).count_ones();
        if without_timeout.count_ones() >= ALMOST_ALL_OF_16 {
            Severity::Down
        } else if of_last_8(without_timeout) >= 5 {
            Severity::Failing
        } else if failed.count_ones() >= ALMOST_ALL_OF_16 {
            Severity::Hung
        } else if of_last_8(failed) >= 4 {
            Severity::TimingOut
        } else {
            Severity::Mild
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity_after(results: &[(RequestResult, u32)]) -> Severity {
        let recent = RecentResults::default();
        for &(result, times) in results {
            (0..times).for_each(|_| recent.record(result));
        }
        recent.severity()
    }

    #[test]
    fn severities_are_those_of_the_table() {
        use RequestResult::{Failure, Success, Timeout};
        for (results, expected) in [
            (&[][..], Severity::Mild),
            (&[(Failure, 3)], Severity::Mild),
            (&[(Timeout, 3), (Success, 4)], Severity::Mild),
            (&[(Timeout, 4)], Severity::TimingOut),
            (&[(Timeout, 14)], Severity::TimingOut),
            (&[(Timeout, 15)], Severity::Hung),
            (&[(Timeout, 99)], Severity::Hung),
            (&[(Timeout, 20), (Failure, 4)], Severity::Hung),
            (&[(Timeout, 20), (Failure, 5)], Severity::Failing),
            (&[(Failure, 5)], Severity::Failing),
            (&[(Failure, 14)], Severity::Failing),
            (&[(Failure, 15)], Severity::Down),
            (&[(Failure, 99), (Success, 1)], Severity::Down),
            (&[(Failure, 99), (Success, 4)], Severity::TimingOut),
            (&[(Failure, 99), (Success, 5)], Severity::Mild),
            (&[(Timeout, 99), (Success, 16)], Severity::Mild),
        ] {
            assert_eq!(severity_after(results), expected, "{results:?}");
        }
    }
}
