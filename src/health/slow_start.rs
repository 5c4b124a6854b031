use std::{
    collections::{BTreeMap, BTreeSet},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    InvalidSetting,
    stage::{
        members::{Id, Member, Members},
        stage::{Policy, Stage, stage},
        timer::Interval,
        weight_share::with_weight_share,
    },
};
use crate::{discover::Discover, endpoint::Endpoint};

/// How an endpoint that has just come into service gets its share bit by bit.
///
/// After time t its weight is multiplied by `max(floor, (t / duration) ^ exponent)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    duration: Duration,
    exponent: f64,
    floor: f64,
}

impl SlowStart {
    /// A straight line over this time, from 10 % on.
    #[must_use]
    pub fn over(duration: Duration) -> Self {
        Self { duration, exponent: 1.0, floor: 0.1 }
    }

    /// The curve: 1 is a straight line, 2 starts slower, 0.5 faster. Default 1.
    #[must_use]
    pub fn exponent(mut self, exponent: f64) -> Self {
        self.exponent = exponent;
        self
    }

    /// The part of its weight that an endpoint has at least. Default 0.1.
    #[must_use]
    pub fn floor(mut self, part: f64) -> Self {
        self.floor = part;
        self
    }

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("duration", self.duration)?;
        InvalidSetting::unless_within("exponent", self.exponent, [0.01, 100.0])?;
        InvalidSetting::unless_within("floor", self.floor, [0.0, 1.0])
    }

    /// The part of its weight after some time.
    fn part(&self, time: Duration) -> f64 {
        let through = time.as_secs_f64() / self.duration.as_secs_f64();
        through.powf(self.exponent).clamp(self.floor, 1.0)
    }
}

impl Default for SlowStart {
    /// Over 30 s.
    fn default() -> Self {
        Self::over(Duration::from_secs(30))
    }
}

stage! {
    /// SlowStartPolicy up the weight of endpoints that come into service: new ones, and those that were unhealthy,
    /// draining or on trial. The stream of [`HealthExt::slow_start`](super::HealthExt::slow_start).
    ///
    /// It works under every strategy that honours weights. There is no ramp if no other endpoint has been
    /// in service for a whole `duration`: where all are new, nobody is to be spared.
    ///
    /// **All weights are multiplied by 100**, of endpoints that ramp and of others, so that there is
    /// something between 0 and 1; what is above `u32::MAX` then, counts as that. Weights are relative,
    /// so shares stay the same. A weight above 0 stays above 0.
    ///
    /// Sources: Envoy's slow start, whose `aggression` is the inverse of the exponent, and HAProxy's. Where
    /// we differ: it holds for new endpoints as well as for those that return.
    SlowStarted, SlowStartPolicy, State
}

impl<D: Discover> SlowStarted<D> {
    pub(super) fn new(discover: D, slow_start: SlowStart) -> Result<Self, InvalidSetting> {
        slow_start.validate()?;
        Ok(Self { stage: Stage::new(discover, SlowStartPolicy::new(slow_start)) })
    }
}

/// A ramp has so many steps, if they are not too short.
const STEPS: u32 = 50;
const SHORTEST_STEP: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct State {
    in_service: Option<Instant>,
    /// The part of its weight that it has now.
    part: f64,
}

#[derive(Debug)]
struct SlowStartPolicy {
    slow_start: SlowStart,
    ramping: BTreeSet<Id>,
    /// How many are in service without a ramp, by when they came into it.
    established: BTreeMap<Instant, usize>,
    step: Interval,
}

impl SlowStartPolicy {
    fn new(slow_start: SlowStart) -> Self {
        let step = Interval::new((slow_start.duration / STEPS).max(SHORTEST_STEP));
        Self { slow_start, ramping: BTreeSet::new(), established: BTreeMap::new(), step }
    }

    /// An endpoint has changed.
    fn follow<T>(&mut self, id: Id, endpoint: &Endpoint<T>, state: &mut State) {
        let serves = endpoint.is_eligible() && endpoint.allowance().is_none();
        match (serves, state.in_service) {
            (true, None) => {
                let now = Instant::now();
                state.in_service = Some(now);
                if self.is_anyone_warm(now) {
                    state.part = self.slow_start.part(Duration::ZERO);
                    self.ramping.insert(id);
                } else {
                    self.establish(now, state);
                }
            }
            (false, Some(since)) => {
                (state.in_service, state.part) = (None, 1.0);
                self.forget(id, since);
            }
            _ => {}
        }
    }

    fn is_anyone_warm(&self, now: Instant) -> bool {
        let oldest = self.established.keys().next();
        oldest.is_some_and(|&since| now.duration_since(since) >= self.slow_start.duration)
    }

    fn establish(&mut self, since: Instant, state: &mut State) {
        state.part = 1.0;
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

    fn climb<K, T>(&mut self, members: &mut Members<K, T, State>) {
        let now = Instant::now();
        for id in std::mem::take(&mut self.ramping) {
            let Some(Member { state, .. }) = members.get_mut(id) else { continue };
            let Some(since) = state.in_service else { continue };
            let time = now.duration_since(since);
            if time < self.slow_start.duration {
                state.part = self.slow_start.part(time);
                self.ramping.insert(id);
            } else {
                self.establish(since, state);
            }
            members.announce(id);
        }
    }
}

impl<K, T: Clone> Policy<K, T, State> for SlowStartPolicy {
    fn join(&mut self, id: Id, endpoint: &Endpoint<T>, _endpoints: usize) -> State {
        let mut state = State { in_service: None, part: 1.0 };
        self.follow(id, endpoint, &mut state);
        state
    }

    fn change(&mut self, id: Id, member: &mut Member<K, T, State>) {
        self.follow(id, &member.endpoint, &mut member.state);
    }

    fn leave(&mut self, id: Id, member: &mut Member<K, T, State>) -> bool {
        if let Some(since) = member.state.in_service {
            self.forget(id, since);
        }
        false
    }

    fn pass(&self, endpoint: Endpoint<T>, state: &State) -> Option<Endpoint<T>> {
        Some(with_weight_share(endpoint, state.part))
    }

    fn poll(&mut self, members: &mut Members<K, T, State>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.ramping.is_empty() {
            if self.step.poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.climb(members);
        }
        self.step.stop();
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A ramp never falls, and is neither below its floor nor above the whole.
        #[test]
        fn ramps_rise_from_the_floor_to_the_whole(
            exponent in 0.01_f64..100.0,
            floor in 0.0_f64..1.0,
            times in prop::collection::vec(0_u64..40_000, 2..20),
        ) {
            let slow_start = SlowStart::default().exponent(exponent).floor(floor);
            let mut times = times;
            times.sort_unstable();
            let parts: Vec<_> =
                times.iter().map(|&time| slow_start.part(Duration::from_millis(time))).collect();
            prop_assert!(parts.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(parts.iter().all(|&part| (floor..=1.0).contains(&part)));
            prop_assert_eq!(slow_start.part(Duration::from_secs(30)), 1.0);
        }
    }
}
