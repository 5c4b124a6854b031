use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::StatusCode;

/// How many responses a listener has sent, by status and by who has made them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Responses {
    /// Responses of targets, by class: 1xx, 2xx, 3xx, 4xx, 5xx. An upgrade is 1xx.
    pub target: [u64; 5],
    /// Responses of the load balancer itself, by class: redirects, fixed responses and errors.
    pub own: [u64; 5],
    /// Own responses with status 500.
    pub own_500: u64,
    /// Own responses with status 502: a target could not be reached, or its response was invalid.
    pub own_502: u64,
    /// Own responses with status 503: no target could get the request.
    pub own_503: u64,
    /// Own responses with status 504: a target did not respond in time.
    pub own_504: u64,
}

/// The counters of a listener.
#[derive(Debug, Default)]
pub(in crate::alb) struct ResponseCounters {
    target: [AtomicU64; 5],
    own: [AtomicU64; 5],
    errors: [AtomicU64; 4],
}

/// The statuses that are counted one by one.
const ERRORS: [u16; 4] = [500, 502, 503, 504];

impl ResponseCounters {
    pub(super) fn count(&self, status: StatusCode, is_own: bool) {
        let classes = if is_own { &self.own } else { &self.target };
        // HTTP has no status beyond 599; it is counted as the error that it is likely to be.
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        classes[class].fetch_add(1, Relaxed);
        if let Some(at) = ERRORS.iter().position(|&error| is_own && status == error) {
            self.errors[at].fetch_add(1, Relaxed);
        }
    }

    pub(in crate::alb) fn read(&self) -> Responses {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let [own_500, own_502, own_503, own_504] = self.errors.each_ref().map(read);
        Responses {
            target: self.target.each_ref().map(read),
            own: self.own.each_ref().map(read),
            own_500,
            own_502,
            own_503,
            own_504,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_responses_and_those_of_targets_are_told_apart() {
        let counters = ResponseCounters::default();
        for (status, is_own) in [(101, false), (200, false), (503, false), (503, true), (561, true)]
        {
            counters.count(StatusCode::from_u16(status).unwrap(), is_own);
        }
        let responses = counters.read();
        assert_eq!(responses.target, [1, 1, 0, 0, 1]);
        assert_eq!(responses.own, [0, 0, 0, 0, 2]);
        assert_eq!((responses.own_503, responses.own_502), (1, 0));
    }
}
