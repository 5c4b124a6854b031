use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::warmth::Warmth;
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Keeps few execution environments warm: prefers endpoints with an idle environment, and grows
/// where most are warm.
///
/// Lambda keeps an environment for some minutes after its last request. A request that finds no
/// idle environment has a cold start. Traffic spread over several functions needs environments for
/// the peaks of each; packed on one function it needs fewer in total, and those stay warm. The
/// other endpoints serve when the preferred one has no room, is throttled or is left out. This pays
/// off where spread traffic would, at least at times, be too thin to keep each function warm. Where
/// every function stays warm, spreading absorbs bursts better.
///
/// Lambda does not report the number of warm environments. The estimate is the most requests
/// recently in flight when one succeeded; requests of other callers are not seen. Among equally
/// warm endpoints, the one used last is preferred. Weights are ignored, except for 0.
///
/// Growth is bounded for endpoints that don't respond. An endpoint whose requests in flight are
/// twice its warm environments (at least 10 above them) gets more only if all endpoints are like
/// that. After three consecutive requests that failed or were cancelled, an endpoint gets requests
/// only if no other can take them, for 10 s. Each further one doubles that time, up to 320 s.
///
/// To do the opposite, which is right where failures must affect as few requests as possible, use
/// [`RoundRobin`](crate::strategy::RoundRobin) or [`LeastLoaded`](crate::strategy::LeastLoaded).
///
/// Examines all endpoints for each pick, without a lock or an allocation.
#[derive(Clone, Debug)]
pub struct Pack {
    idle_after: Duration,
}

impl Pack {
    /// Creates the strategy; environments stay warm for five minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self { idle_after: Duration::from_secs(300) }
    }

    /// Sets how long an environment is assumed to stay warm without a request, accurate to half of
    /// `time`. Default 5 min; the minimum of 2 s applies to shorter times.
    #[must_use]
    pub const fn warm_for(mut self, time: Duration) -> Self {
        self.idle_after = time;
        self
    }
}

impl Default for Pack {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for Pack {
    type Picker = PackPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<PackPicker> {
        Built::new(PackPicker { candidates: candidates.clone() }, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(Warmth::new(self.idle_after)))
    }
}

/// The picker of [`Pack`].
#[expect(unnameable_types, reason = "named as <Pack as Strategy>::Picker")]
#[derive(Debug)]
pub struct PackPicker {
    candidates: Candidates,
}

impl<Req> Pick<Req> for PackPicker {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        if self.candidates.len() < 2 {
            return self.candidates.get(0);
        }
        let now = context.now();
        let accepted = self.candidates.iter().filter(|candidate| context.accepts(candidate));
        let warmest = accepted.max_by_key(|candidate| {
            let stats = candidate.stats();
            let Some(warmth) = candidate.meter::<Warmth>() else { return Rank::default() };
            let (warm, outstanding) = (warmth.environments(stats, now), stats.outstanding());
            Rank {
                works: !warmth.is_failing(stats, now),
                has_idle: warm > outstanding,
                may_grow: outstanding < warm + warm.max(MIN_GROWTH),
                warm,
                last_used: warmth.last_used(stats),
            }
        });
        warmest.or_else(|| self.candidates.fallback(context))
    }
}

/// The number of requests that may wait for environments to start, if fewer are warm.
const MIN_GROWTH: u32 = 10;

/// Compared field by field, the most important first.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    works: bool,
    has_idle: bool,
    may_grow: bool,
    warm: u32,
    last_used: Option<Instant>,
}
