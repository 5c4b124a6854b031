use std::{
    sync::{Mutex, TryLockError},
    time::Duration,
};

use crate::ConfigError;

/// How many requests may be in flight: a fixed number, or a limit that adapts to the endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency {
    pub(super) algorithm: Algorithm,
    pub(super) min: u32,
    pub(super) max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Algorithm {
    Fixed,
    Aimd,
    Gradient,
}

/// Where adaptive limits start, if their bounds allow it.
const INITIAL_LIMIT: u32 = 20;

impl Concurrency {
    /// A limit of `requests` that never changes.
    #[must_use]
    pub const fn fixed(requests: u32) -> Self {
        Self { algorithm: Algorithm::Fixed, min: requests, max: requests }
    }

    /// A limit from `min` to `max` that grows slowly and shrinks on overload. Starts at 20.
    ///
    /// It grows by 1 after as many successful responses as the limit, while at least half of the
    /// limit is in use. It shrinks by a tenth on overload or a timeout, at most once per as many
    /// responses.
    ///
    /// Source: additive increase, multiplicative decrease, once per round trip, as in TCP
    /// (Jacobson, 1988). Where this differs: Netflix's concurrency-limits counts every response,
    /// which makes a fifth of the requests fail with overload indefinitely.
    #[must_use]
    pub const fn aimd(min: u32, max: u32) -> Self {
        Self { algorithm: Algorithm::Aimd, min, max }
    }

    /// A limit from `min` to `max` that keeps latency low. Starts at 20.
    ///
    /// It shrinks while recent latency is more than a quarter above the minimum latency. Otherwise
    /// it grows by its square root, step by step. From time to time it is halved for a while, so
    /// that queues drain and the minimum latency can be measured. Overload and timeouts reduce it
    /// by a tenth, as with [`aimd`](Self::aimd).
    ///
    /// Source: the gradient of Envoy's adaptive concurrency. Where this differs: Envoy goes down to
    /// three requests to measure. Netflix's Gradient2 compares with an average, and drifts upwards
    /// with it.
    #[must_use]
    pub const fn gradient(min: u32, max: u32) -> Self {
        Self { algorithm: Algorithm::Gradient, min, max }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero("concurrency.min", self.min.into())?;
        let expected = "at most `concurrency.max`";
        ConfigError::unless(self.min <= self.max, "concurrency.min", self.min, expected)
    }

    pub(super) fn initial(&self) -> u32 {
        INITIAL_LIMIT.clamp(self.min, self.max)
    }
}

/// Adapts the limit to the responses, by the algorithm of a [`Concurrency`].
#[derive(Debug)]
pub(super) struct AdaptiveLimit {
    concurrency: Concurrency,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// A fraction, so that it can grow by less than 1 per response.
    limit: f64,
    /// Responses since the limit was last reduced because of overload.
    responses: f64,
    /// The minimum latency in seconds; 0 if unknown.
    min_latency: f64,
    /// The moving average of the latency in seconds; 0 if unknown.
    recent_latency: f64,
    phase: Phase,
}

/// The phase of the gradient algorithm. Each holds the number of responses until its end.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The limit follows the gradient.
    Following(f64),
    /// The limit is halved, so that queues drain. Latencies are ignored.
    Draining(f64),
    /// The limit is halved. Also holds the minimum latency measured so far.
    Measuring(f64, f64),
}

/// The factor that overload applies to the limit.
const DECREASE: f64 = 0.9;
/// How far recent latency may be above the minimum before the limit shrinks.
const LATENCY_TOLERANCE: f64 = 1.25;
/// The weight of a response in the moving average of the latency.
const LATENCY_WEIGHT: f64 = 0.1;

impl AdaptiveLimit {
    /// Returns `None` if `concurrency` is fixed.
    pub(super) fn new(concurrency: Concurrency) -> Option<Self> {
        let state = Mutex::new(State::starting_at(f64::from(concurrency.initial())));
        (concurrency.algorithm != Algorithm::Fixed).then_some(Self { concurrency, state })
    }

    /// Records a response that took `latency` while `in_flight` requests were in flight. Calls
    /// `set_limit` if the limit changes.
    ///
    /// If another thread records a response at the same time, this one is skipped: a sample is not
    /// worth waiting for a lock.
    pub(super) fn record(
        &self,
        latency: Duration,
        in_flight: u32,
        is_overload: bool,
        set_limit: impl FnOnce(u32),
    ) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let Concurrency { algorithm, min, max } = self.concurrency;
        let (before, effective_before) = (state.limit, state.effective());
        state.responses += 1.0;
        // A limit that is not reached says nothing about whether a higher one would be good.
        let is_busy = f64::from(in_flight) * 2.0 >= before;
        let limit = match algorithm {
            Algorithm::Fixed => before,
            // Requests that were in flight at the last reduction say nothing about the new limit.
            _ if is_overload && state.responses < before => before,
            _ if is_overload => {
                state.responses = 0.0;
                before * DECREASE
            }
            Algorithm::Aimd if is_busy => before + 1.0 / before,
            Algorithm::Aimd => before,
            Algorithm::Gradient => state.follow_gradient(latency.as_secs_f64(), is_busy),
        };
        state.limit = limit.clamp(f64::from(min), f64::from(max));
        let effective = state.effective().max(min);
        if effective != effective_before.max(min) {
            // Called within the lock, so that limits are set in the order in which they were
            // computed.
            set_limit(effective);
        }
    }
}

impl State {
    fn starting_at(limit: f64) -> Self {
        let phase = Phase::Following(0.0);
        Self { limit, responses: 0.0, min_latency: 0.0, recent_latency: 0.0, phase }
    }

    /// Returns the limit that applies in the current phase.
    fn effective(&self) -> u32 {
        match self.phase {
            Phase::Following(_) => self.limit as u32,
            Phase::Draining(_) | Phase::Measuring(..) => (self.limit / 2.0) as u32,
        }
    }

    fn follow_gradient(&mut self, latency: f64, is_busy: bool) -> f64 {
        let limit = self.limit;
        self.phase = match self.phase {
            // One limit's worth of responses for the requests that are in flight already.
            Phase::Following(left) if left <= 0.0 => Phase::Draining(limit),
            Phase::Following(left) => Phase::Following(left - 1.0),
            Phase::Draining(left) if left <= 0.0 => Phase::Measuring(limit / 2.0, f64::INFINITY),
            Phase::Draining(left) => Phase::Draining(left - 1.0),
            Phase::Measuring(left, min) if left > 0.0 => {
                Phase::Measuring(left - 1.0, min.min(latency))
            }
            Phase::Measuring(_, min) => {
                (self.min_latency, self.recent_latency) = (min.min(latency), 0.0);
                // Long enough that the halved limit applies to a small share of the requests.
                Phase::Following(1000.0 + 20.0 * limit)
            }
        };
        let Phase::Following(_) = self.phase else { return limit };
        self.recent_latency = match self.recent_latency {
            0.0 => latency,
            recent => recent + (latency - recent) * LATENCY_WEIGHT,
        };
        if !is_busy || self.min_latency == 0.0 {
            return limit;
        }
        let gradient = LATENCY_TOLERANCE * self.min_latency / self.recent_latency.max(1e-9);
        let target = limit * gradient.clamp(0.5, 1.0) + limit.sqrt();
        // The whole step per round trip, which is as many responses as the limit.
        limit + (target - limit) / limit.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_bounds_are_rejected() {
        assert!(Concurrency::fixed(0).check().is_err());
        assert!(Concurrency::aimd(10, 5).check().is_err());
        assert_eq!(Concurrency::aimd(50, 60).initial(), 50);
    }

    const MS: Duration = Duration::from_millis(1);

    /// Records a response and returns the new limit, if it changed.
    fn record(
        adaptive: &AdaptiveLimit,
        latency: Duration,
        in_flight: u32,
        is_overload: bool,
    ) -> Option<u32> {
        let mut limit = None;
        adaptive.record(latency, in_flight, is_overload, |new| limit = Some(new));
        limit
    }

    #[test]
    fn aimd_grows_slowly_and_shrinks_fast() {
        let adaptive = AdaptiveLimit::new(Concurrency::aimd(2, 100)).unwrap();
        let mut limit = 20;
        for _ in 0..1000 {
            limit = record(&adaptive, MS, limit, false).unwrap_or(limit);
        }
        assert_eq!(limit, 48, "one more for each round");
        assert_eq!(record(&adaptive, MS, 10, false), None, "not used, not raised");
        for _ in 0..40 {
            limit = record(&adaptive, MS, limit, true).unwrap_or(limit);
        }
        assert_eq!(limit, 44, "once for a round");
        for _ in 0..1000 {
            limit = record(&adaptive, MS, limit, true).unwrap_or(limit);
        }
        assert_eq!(limit, 2);
    }

    /// A server with 40 workers and 10 ms of work: requests above 40 queue there. The limit settles
    /// near the server's capacity (within half and twice).
    #[test]
    fn gradient_finds_the_capacity() {
        let adaptive = AdaptiveLimit::new(Concurrency::gradient(5, 1000)).unwrap();
        let mut limit = 20;
        for _ in 0..20_000 {
            let millis = 10.0 * f64::max(1.0, f64::from(limit) / 40.0);
            limit = record(&adaptive, MS.mul_f64(millis), limit, false).unwrap_or(limit);
        }
        assert!((30..=80).contains(&limit), "{limit}");
    }
}
