use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::stage::{
    members::{Id, Member, Members},
    stage::{Policy, Removal, stage},
    timer::Interval,
    weight_share::with_weight_share,
};
use crate::{ConfigError, endpoint::Endpoint};

/// How the weight of an endpoint rises after it has entered service.
///
/// After time `t`, the weight is multiplied by `max(floor, (t / duration) ^ exponent)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    duration: Duration,
    exponent: f64,
    floor: f64,
}

impl SlowStart {
    /// Rises in a straight line over `duration`, starting at 10 %.
    #[must_use]
    pub fn over(duration: Duration) -> Self {
        Self { duration, exponent: 1.0, floor: 0.1 }
    }

    setters! {
        /// Sets the curve: 1 is a straight line, 2 starts slower, 0.5 faster. Default 1; from 0.01
        /// to 100.
        pub fn exponent(exponent: f64) => exponent = exponent;
        /// Sets the lowest share of its weight that an endpoint has. Default 0.1; from 0 to 1.
        pub fn floor(share: f64) => floor = share;
    }

    fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::if_zero_time("duration", self.duration)?;
        ConfigError::unless_within("exponent", self.exponent, [0.01, 100.0])?;
        ConfigError::unless_within("floor", self.floor, [0.0, 1.0])
    }

    /// Returns the share of its weight that an endpoint has after `time` in service.
    fn share_after(&self, time: Duration) -> f64 {
        let progress = time.as_secs_f64() / self.duration.as_secs_f64();
        progress.powf(self.exponent).clamp(self.floor, 1.0)
    }
}

impl Default for SlowStart {
    /// Rises over 30 s.
    fn default() -> Self {
        Self::over(Duration::from_secs(30))
    }
}

stage! {
    /// Ramps up the weight of endpoints that enter service: new endpoints, and those that were
    /// unhealthy, draining or on trial. The stream of
    /// [`HealthExt::slow_start`](super::HealthExt::slow_start).
    ///
    /// It works under every strategy that honours weights. An endpoint starts with its full weight
    /// if no other endpoint has been in service for a whole `duration`: if all endpoints are new,
    /// none of the others could take the traffic.
    ///
    /// **All weights are multiplied by 100**, those of other endpoints too, so that there are
    /// values between 0 and 1. Weights are relative, so shares stay the same. A weight above
    /// `u32::MAX` counts as `u32::MAX`, and a weight above 0 stays above 0.
    ///
    /// Sources: Envoy's slow start, whose `aggression` is the inverse of the exponent, and
    /// HAProxy's. Where this differs: endpoints that return to service ramp up as well as new ones.
    SlowStarted, SlowStart, SlowStartPolicy, State
}

/// The number of steps of a ramp, unless they would be shorter than `MIN_STEP`.
const STEPS: u32 = 50;
const MIN_STEP: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct State {
    in_service_since: Option<Instant>,
    /// The share of its weight that the endpoint has now.
    share: f64,
}

#[derive(Debug)]
struct SlowStartPolicy {
    slow_start: SlowStart,
    ramping: BTreeSet<Id>,
    /// Counts endpoints in service at full weight by the time at which they entered service.
    established: BTreeMap<Instant, usize>,
    step: Interval,
}

impl SlowStartPolicy {
    fn new(slow_start: SlowStart) -> Self {
        let step = Interval::new((slow_start.duration / STEPS).max(MIN_STEP));
        Self { slow_start, ramping: BTreeSet::new(), established: BTreeMap::new(), step }
    }

    /// Starts or ends the ramp of an endpoint that was added or has changed.
    fn update<T>(&mut self, id: Id, endpoint: &Endpoint<T>, state: &mut State) {
        let serves = endpoint.is_eligible() && endpoint.allowance().is_none();
        match (serves, state.in_service_since) {
            (true, None) => {
                let now = Instant::now();
                state.in_service_since = Some(now);
                if self.has_warm_endpoint(now) {
                    state.share = self.slow_start.share_after(Duration::ZERO);
                    self.ramping.insert(id);
                } else {
                    self.establish(now, state);
                }
            }
            (false, Some(since)) => {
                (state.in_service_since, state.share) = (None, 1.0);
                self.forget(id, since);
            }
            _ => {}
        }
    }

    fn has_warm_endpoint(&self, now: Instant) -> bool {
        let oldest = self.established.keys().next();
        oldest.is_some_and(|&since| now.duration_since(since) >= self.slow_start.duration)
    }

    fn establish(&mut self, since: Instant, state: &mut State) {
        state.share = 1.0;
        *self.established.entry(since).or_default() += 1;
    }

    fn forget(&mut self, id: Id, since: Instant) {
        if self.ramping.remove(&id) {
            return;
        }
        if let Some(count) = self.established.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                self.established.remove(&since);
            }
        }
    }

    fn raise_weights<K, T>(&mut self, members: &mut Members<K, T, State>) {
        let now = Instant::now();
        for id in std::mem::take(&mut self.ramping) {
            let Some(Member { state, .. }) = members.get_mut(id) else { continue };
            let Some(since) = state.in_service_since else { continue };
            let time = now.duration_since(since);
            if time < self.slow_start.duration {
                state.share = self.slow_start.share_after(time);
                self.ramping.insert(id);
            } else {
                self.establish(since, state);
            }
            members.queue_update(id);
        }
    }
}

impl<K, T: Clone> Policy<K, T, State> for SlowStartPolicy {
    fn added(&mut self, id: Id, _key: &K, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let mut state = State { in_service_since: None, share: 1.0 };
        self.update(id, endpoint, &mut state);
        state
    }

    fn changed(&mut self, id: Id, member: &mut Member<K, T, State>) {
        self.update(id, &member.endpoint, &mut member.state);
    }

    fn removed(&mut self, id: Id, member: &mut Member<K, T, State>) -> Removal {
        if let Some(since) = member.state.in_service_since {
            self.forget(id, since);
        }
        Removal::Now
    }

    fn publish(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        Some(with_weight_share(endpoint, state.share))
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ramping.is_empty() {
            if self.step.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.raise_weights(members);
        }
        self.step.reset();
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A ramp never falls, and stays between its floor and the full weight.
        #[test]
        fn ramps_rise_from_the_floor_to_the_full_weight(
            exponent in 0.01_f64..100.0,
            floor in 0.0_f64..1.0,
            times in prop::collection::vec(0_u64..40_000, 2..20),
        ) {
            let slow_start = SlowStart::default().exponent(exponent).floor(floor);
            let mut times = times;
            times.sort_unstable();
            let shares: Vec<_> =
                times.iter().map(|&time| slow_start.share_after(Duration::from_millis(time))).collect();
            prop_assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(shares.iter().all(|&share| (floor..=1.0).contains(&share)));
            prop_assert_eq!(slow_start.share_after(Duration::from_secs(30)), 1.0);
        }
    }
}
