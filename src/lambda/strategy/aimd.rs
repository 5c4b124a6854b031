use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    ConfigError,
    endpoint::EndpointStats,
    outcome::{Meter, Outcome, Sample},
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
    },
};

/// Limits the concurrency of each endpoint, by additive increase and multiplicative decrease: it
/// approaches the limit of a function that throttles.
///
/// The limit starts low and grows by 1 with each success, until the endpoint reports
/// [`Overload`](crate::outcome::Outcome::Overload), as throttles do. Then it falls to 80 % of the
/// requests in flight, and from there grows by about 1 per round trip, while at least half of it is
/// in use.
///
/// The inner strategy picks. If the endpoint that it picks is at its limit, it picks again, with
/// endpoints at their limits counted as full. If it finds no other, the request is rejected as
/// [`Error::Refused`](crate::Error::Refused), which costs less than a throttled invocation. The
/// request is rejected even if it could wait for a full endpoint: nothing wakes a waiting request
/// when a limit grows. Within [`Tiers`](crate::strategy::Tiers), requests over the limits of one
/// tier go to the next.
///
/// Source: TCP's congestion control (Jacobson, 1988). Where this differs: a round trip is counted
/// in requests, not time, so that a burst of throttles lowers the limit once.
#[derive(Clone, Debug)]
pub struct Aimd<St> {
    inner: St,
    initial: u32,
    max: u32,
}

impl<St> Aimd<St> {
    /// Limits the endpoints that `inner` picks. Limits start at 10 and reach 1000 at most.
    pub fn new(inner: St) -> Self {
        Self { inner, initial: 10, max: 1000 }
    }

    /// Sets the limit of a new endpoint, at most [`max`](Self::max). Default 10.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `requests` is 0.
    pub fn initial(mut self, requests: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("initial", requests.into())?;
        self.initial = requests;
        Ok(self)
    }

    /// Sets the highest limit, such as a known quota. Default 1000.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `requests` is 0.
    pub fn max(mut self, requests: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("max", requests.into())?;
        self.max = requests;
        Ok(self)
    }
}

impl<St: Strategy> Strategy for Aimd<St> {
    type Picker = AimdPicker<St::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        self.inner.build(candidates, context).map(|inner| AimdPicker { inner })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(AimdLimit::new(self.initial, self.max, self.inner.meter())))
    }
}

/// The picker of [`Aimd`].
#[expect(unnameable_types, reason = "named as <Aimd as Strategy>::Picker")]
#[derive(Debug)]
pub struct AimdPicker<P> {
    inner: P,
}

fn is_below_limit(candidate: &Candidate) -> bool {
    candidate
        .meter::<AimdLimit>()
        .is_none_or(|concurrency| candidate.stats().outstanding() < concurrency.limit())
}

impl<P> AimdPicker<P> {
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        observer.step("aimd");
        let picked = observer.inner(&self.inner, request, context)?;
        let limit = || picked.meter::<AimdLimit>().map_or(0, AimdLimit::limit);
        if is_below_limit(picked) {
            observer.say(|| {
                format!("{} is below its limit of {}", Brief::name(picked.name()), limit())
            });
            return Some(picked);
        }
        observer.say(|| {
            let name = Brief::name(picked.name());
            format!("{name} is at its limit of {}, so another is picked", limit())
        });
        // Pick again by the inner strategy: it knows which endpoints the request may go to.
        let other = context.with_limit(is_below_limit, |context| {
            let other = observer.inner(&self.inner, request, context);
            other.filter(|other| context.has_room(other))
        });
        if other.is_none() && context.has_room(picked) {
            context.set_refused();
        }
        other
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for AimdPicker<P> {
    observed_pick!(Req);
}

/// Adapts the number of concurrent requests that one endpoint accepts.
#[derive(Debug)]
pub(super) struct AimdLimit {
    /// All of the state in one word, which guards no other memory: relaxed order is enough.
    state: AtomicU64,
    max: f32,
    inner: Option<Arc<dyn Meter>>,
}

/// The state, packed into one word.
#[derive(Clone, Copy)]
struct State {
    limit: f32,
    /// The number of requests that were sent before the limit last fell and have not ended. They
    /// don't change the limit, so that a burst of throttles lowers it once.
    settling: u32,
    /// Whether the endpoint has throttled before: the limit then grows slowly.
    found: bool,
}

const FOUND_BIT: u64 = 1 << 31;
/// The factor by which a throttle reduces the requests in flight to the new limit.
const DECREASE_FACTOR: f32 = 0.8;

impl State {
    fn unpack(word: u64) -> Self {
        let limit = f32::from_bits((word >> 32) as u32);
        let found = word & FOUND_BIT > 0;
        Self { limit, settling: (word & (FOUND_BIT - 1)) as u32, found }
    }

    fn pack(self) -> u64 {
        let settling = u64::from(self.settling).min(FOUND_BIT - 1);
        let found = if self.found { FOUND_BIT } else { 0 };
        u64::from(self.limit.to_bits()) << 32 | settling | found
    }

    /// Returns the state after a request that was in flight with `others`.
    fn after(self, outcome: &Outcome, others: u32, max: f32) -> Self {
        let in_flight = others as f32 + 1.0;
        let settling = self.settling.saturating_sub(1);
        match outcome {
            Outcome::Overload { .. } if self.settling == 0 => {
                let limit = (self.limit.min(in_flight) * DECREASE_FACTOR).max(1.0);
                Self { limit, settling: others, found: true }
            }
            // A limit that is less than half used is not tested, so it must not grow.
            Outcome::Success if in_flight * 2.0 >= self.limit => {
                let step = if self.found { 1.0 / self.limit } else { 1.0 };
                Self { limit: (self.limit + step).min(max), settling, ..self }
            }
            _ => Self { settling, ..self },
        }
    }
}

impl AimdLimit {
    pub(super) fn new(initial: u32, max: u32, inner: Option<Arc<dyn Meter>>) -> Self {
        let max = max as f32;
        let limit = (initial as f32).min(max);
        let state = State { limit, settling: 0, found: false };
        Self { state: AtomicU64::new(state.pack()), max, inner }
    }

    pub(super) fn limit(&self) -> u32 {
        State::unpack(self.state.load(Ordering::Relaxed)).limit as u32
    }
}

impl Meter for AimdLimit {
    fn record(&self, stats: &EndpointStats, sample: &Sample<'_>) {
        let others = stats.outstanding();
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let after = State::unpack(word).after(sample.outcome(), others, self.max).pack();
            (after != word).then_some(after)
        });
        if let Some(inner) = &self.inner {
            inner.record(stats, sample);
        }
    }

    fn needs_latency(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.needs_latency())
    }

    fn inner(&self) -> Option<&dyn Meter> {
        self.inner.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THROTTLED: Outcome = Outcome::Overload { retry_after: None };

    #[test]
    fn it_grows_fast_until_the_first_throttle_and_slowly_after() {
        let start = State { limit: 10.0, settling: 0, found: false };
        let more = (0..10).fold(start, |state, _| state.after(&Outcome::Success, 9, 1000.0));
        assert_eq!(more.limit, 20.0);
        let less = more.after(&THROTTLED, 19, 1000.0);
        assert_eq!((less.limit, less.settling), (16.0, 19));
        // The rest of the same burst does not lower it further.
        let burst = (0..19).fold(less, |state, _| state.after(&THROTTLED, 15, 1000.0));
        assert_eq!((burst.limit, burst.settling), (16.0, 0));
        let round = (0..16).fold(burst, |state, _| state.after(&Outcome::Success, 15, 1000.0));
        assert!((16.9..17.1).contains(&round.limit), "{}", round.limit);
        assert_eq!(burst.after(&Outcome::Success, 2, 1000.0).limit, 16.0, "not made use of");
    }

    #[test]
    fn the_limit_stays_between_1_and_the_maximum() {
        let mut state = State { limit: 2.0, settling: 0, found: false };
        for _ in 0..100 {
            state = State { settling: 0, ..state.after(&THROTTLED, 0, 5.0) };
        }
        assert_eq!(state.limit, 1.0);
        let most = (0..100).fold(state, |state, _| state.after(&Outcome::Success, 4, 5.0));
        assert_eq!(most.limit, 5.0);
        let packed = State::unpack(State { settling: u32::MAX, ..most }.pack());
        assert!(packed.found && packed.limit == 5.0);
    }
}
