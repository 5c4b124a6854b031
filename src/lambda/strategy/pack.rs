use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::warmth::Warmth;
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Keeps few execution environments warm: a request goes where one is idle, and traffic grows where
/// most are.
///
/// Lambda keeps an environment for some minutes after its last request, and serves a request that
/// finds none idle by a cold start. Traffic that is spread over several functions needs, at each of
/// them, as many environments as its own peaks ask for; packed on one it needs fewer in all, and
/// what is packed stays warm. Others serve when the one has no room, is throttled or left out. It pays
/// where traffic is so thin, at times at least, that spread it would leave functions cold between two of their
/// requests; where each stays warm by itself, spreading takes up bursts better.
///
/// How many environments are warm is not told by Lambda. It is taken to be the most requests that
/// were in flight at once lately when one succeeded; other callers' are not seen. Of endpoints that are as
/// warm as each other, the one used last is preferred. Weights do not matter, but for 0.
///
/// Where nothing comes back, nothing grows: an endpoint with as many requests in flight as are warm, and
/// as many again (10 at least), is filled further only if all are like that. One that failed or was
/// given up three times in a row gets requests only if no other can take them, for 10 s; each further
/// time doubles that, up to 320 s.
///
/// For the opposite, which is right where failures must touch as few requests as possible, take
/// [`RoundRobin`](crate::strategy::RoundRobin) or [`LeastLoaded`](crate::strategy::LeastLoaded).
///
/// Looks at all endpoints for each pick, without a lock or an allocation.
#[derive(Clone, Debug)]
pub struct Pack {
    idle_after: Duration,
}

impl Pack {
    /// Environments stay warm for five minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self { idle_after: Duration::from_secs(300) }
    }

    /// How long an environment is thought to stay warm without a request, to within half of that.
    /// Default 5 min; less than 2 s counts as that.
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
                may_grow: outstanding < warm + warm.max(GROWTH),
                warm,
                last_used: warmth.last_used(stats),
            }
        });
        warmest.or_else(|| self.candidates.fallback(context))
    }
}

/// So many requests may wait for environments to start, however few are warm.
const GROWTH: u32 = 10;

/// What counts most comes first.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    works: bool,
    has_idle: bool,
    may_grow: bool,
    warm: u32,
    last_used: Option<Instant>,
}
