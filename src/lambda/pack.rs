use std::{sync::Arc, time::Duration};

use super::warmth::Warmth;
use crate::{
    outcome::Meter,
    strategy::{Candidate, Candidates, Pick, PickContext, Strategy},
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
/// were in flight at once lately; other callers' are not seen. Of endpoints that are as warm as each
/// other, the one used last is preferred. Weights do not matter, but for 0.
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
    /// Default 5 min.
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

    fn picker(&mut self, candidates: &Candidates) -> PackPicker {
        PackPicker { candidates: candidates.clone() }
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
            let Some(warmth) = candidate.meter::<Warmth>() else { return (false, 0, None) };
            let warm = warmth.environments(candidate.vitals(), now);
            let has_idle = warm > candidate.vitals().outstanding();
            (
                has_idle,
                warm.max(candidate.vitals().outstanding()),
                warmth.last_used(candidate.vitals()),
            )
        });
        warmest.or_else(|| self.candidates.fallback(context))
    }
}
