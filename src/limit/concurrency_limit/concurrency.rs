use std::{
    sync::{Mutex, TryLockError},
    time::Duration,
};

use crate::InvalidConfig;

/// How many requests may be under way: so many, or as many as prove to be good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concurrency {
    kind: Kind,
    min: u32,
    max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fixed,
    Aimd,
    Gradient,
}

/// Where adaptive limits start, if their bounds allow.
const INITIAL: u32 = 20;

impl Concurrency {
    /// Always so many.
    #[must_use]
    pub const fn fixed(requests: u32) -> Self {
        Self { kind: Kind::Fixed, min: requests, max: requests }
    }

    /// One more for as many good answers as the limit is, while at least half of it is in use; a tenth
    /// less for overload or a timeout, once for as many answers. Starts at 20.
    ///
    /// Source: additive increase, multiplicative decrease, once a round trip, as TCP has it (Jacobson,
    /// 1988). Netflix's concurrency-limits count each answer; a fifth of the requests is then
    /// overload for ever.
    #[must_use]
    pub const fn aimd(min: u32, max: u32) -> Self {
        Self { kind: Kind::Aimd, min, max }
    }

    /// As many as don't make latency grow: the limit shrinks while recent latency is more than a quarter
    /// above the least there is, and grows by its square root else, step by step. From time to time it
    /// is halved for a while, so that queues drain and the least latency can be measured. Overload and
    /// timeouts take a tenth off, as with [`aimd`](Self::aimd). Starts at 20.
    ///
    /// Source: the gradient of Envoy's adaptive concurrency. Where we differ: Envoy goes down to three
    /// requests to measure; Netflix's Gradient2 compares with an average, and drifts upwards with it.
    #[must_use]
    pub const fn gradient(min: u32, max: u32) -> Self {
        Self { kind: Kind::Gradient, min, max }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        InvalidConfig::unless(
            self.min > 0,
            "a concurrency limit of 0 lets nothing through: set it to at least 1",
        )?;
        InvalidConfig::unless(
            self.min <= self.max,
            "the least concurrency is above the greatest: swap them",
        )
    }

    pub(super) fn initial(&self) -> u32 {
        INITIAL.clamp(self.min, self.max)
    }

    pub(super) fn control(self) -> Option<Control> {
        let limit = f64::from(self.initial());
        let state = Mutex::new(State::starting_at(limit));
        (self.kind != Kind::Fixed).then_some(Control { rules: self, state })
    }
}

/// Finds the limit.
#[derive(Debug)]
pub(super) struct Control {
    rules: Concurrency,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    /// Answers since it was last lowered for overload.
    answers: f64,
    /// The least latency, and that of late, in seconds; 0 if not known.
    least: f64,
    recent: f64,
    phase: Phase,
}

/// How many answers are left in it.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Following(f64),
    /// Half of the limit: queues drain.
    Draining(f64),
    /// Half of the limit: the least latency so far.
    Measuring(f64, f64),
}

impl Control {
    /// After an answer that took so long while so many were under way: sets the new limit, if it is
    /// another. If another answer is being looked at just now, this one says nothing.
    pub(super) fn answered(
        &self,
        took: Duration,
        inside: u32,
        dropped: bool,
        set: impl FnOnce(u32),
    ) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let (before, in_force) = (state.limit, state.in_force());
        state.answers += 1.0;
        let busy = f64::from(inside) * 2.0 >= before;
        state.limit = match self.rules.kind {
            Kind::Fixed => before,
            // What was under way when it was lowered says nothing new.
            _ if dropped && state.answers < before => before,
            _ if dropped => {
                state.answers = 0.0;
                before * 0.9
            }
            Kind::Aimd if busy => before + 1.0 / before,
            Kind::Aimd => before,
            Kind::Gradient => state.follow_gradient(took.as_secs_f64(), busy),
        };
        let bounds = (f64::from(self.rules.min), f64::from(self.rules.max));
        state.limit = state.limit.clamp(bounds.0, bounds.1);
        let min = self.rules.min;
        let now = state.in_force().max(min);
        if now != in_force.max(min) {
            // Within the lock, so that limits are set in the order in which they were found.
            set(now);
        }
    }
}

impl State {
    fn starting_at(limit: f64) -> Self {
        Self { limit, answers: 0.0, least: 0.0, recent: 0.0, phase: Phase::Following(0.0) }
    }

    fn in_force(&self) -> u32 {
        match self.phase {
            Phase::Following(_) => self.limit as u32,
            Phase::Draining(_) | Phase::Measuring(..) => (self.limit / 2.0) as u32,
        }
    }

    fn follow_gradient(&mut self, took: f64, busy: bool) -> f64 {
        const TOLERANCE: f64 = 1.25;
        let limit = self.limit;
        self.phase = match self.phase {
            Phase::Following(left) if left <= 0.0 => Phase::Draining(limit),
            Phase::Following(left) => Phase::Following(left - 1.0),
            Phase::Draining(left) if left <= 0.0 => Phase::Measuring(limit / 2.0, f64::INFINITY),
            Phase::Draining(left) => Phase::Draining(left - 1.0),
            Phase::Measuring(left, least) if left > 0.0 => {
                Phase::Measuring(left - 1.0, least.min(took))
            }
            Phase::Measuring(_, least) => {
                (self.least, self.recent) = (least.min(took), 0.0);
                Phase::Following(1000.0 + 20.0 * limit)
            }
        };
        let Phase::Following(_) = self.phase else { return limit };
        self.recent = match self.recent {
            0.0 => took,
            recent => recent + (took - recent) * 0.1,
        };
        if !busy || self.least == 0.0 {
            return limit;
        }
        let gradient = (TOLERANCE * self.least / self.recent.max(1e-9)).clamp(0.5, 1.0);
        let target = limit * gradient + limit.sqrt();
        // As far in a round trip, not with each answer.
        limit + (target - limit) / limit.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answered(control: &Control, took: Duration, inside: u32, dropped: bool) -> Option<u32> {
        let mut limit = None;
        control.answered(took, inside, dropped, |new| limit = Some(new));
        limit
    }

    #[test]
    fn aimd_creeps_up_and_falls_fast() {
        let control = Concurrency::aimd(2, 100).control().unwrap();
        let mut limit = 20;
        for _ in 0..1000 {
            limit = answered(&control, MS, limit, false).unwrap_or(limit);
        }
        assert_eq!(limit, 48, "one more for each round");
        assert_eq!(answered(&control, MS, 10, false), None, "not used, not raised");
        for _ in 0..40 {
            limit = answered(&control, MS, limit, true).unwrap_or(limit);
        }
        assert_eq!(limit, 44, "once for a round");
        for _ in 0..1000 {
            limit = answered(&control, MS, limit, true).unwrap_or(limit);
        }
        assert_eq!(limit, 2);
    }

    /// A server with 40 workers and 10 ms of work: what is above 40 queues. The limit settles near
    /// what the server can do (within half and twice).
    #[test]
    fn gradient_finds_the_capacity() {
        let control = Concurrency::gradient(5, 1000).control().unwrap();
        let mut limit = 20;
        for _ in 0..20_000 {
            let took = 10.0 * f64::max(1.0, f64::from(limit) / 40.0);
            limit = answered(&control, MS.mul_f64(took), limit, false).unwrap_or(limit);
        }
        assert!((30..=80).contains(&limit), "{limit}");
    }

    #[test]
    fn nonsense_is_rejected() {
        assert!(Concurrency::fixed(0).check().is_err());
        assert!(Concurrency::aimd(10, 5).check().is_err());
        assert_eq!(Concurrency::aimd(50, 60).initial(), 50);
    }
}
