use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
    explain::{Observe, observed_pick},
    metered::Metered,
};
use crate::{
    load::{FailureAware, Load, Outstanding},
    outcome::Meter,
};

/// Sends all requests to the first endpoint that works, and to the next ones only while it fails or
/// is full.
///
/// Endpoints are ordered by tier (lowest first), then by weight (greatest first), then by name.
/// Only the first 64 are ordered.
///
/// Unhealthy endpoints are skipped. So are failing ones: after two or three consecutive failures,
/// requests go to the next endpoint. After a few seconds the better endpoint is tried again, one
/// request at a time. It gets all requests again once one of them succeeds.
///
/// Source: gRPC's `pick_first`. Where this differs: gRPC goes by connections and keeps the endpoint
/// it has found until the connection breaks; this strategy goes by the order and by outcomes.
#[derive(Clone, Debug)]
pub struct PickFirst {
    load: Metered<FailureAware<Outstanding>>,
}

impl PickFirst {
    /// Orders endpoints by tier, weight and name.
    #[must_use]
    pub fn new() -> Self {
        Self { load: Metered::new(FailureAware::new(Outstanding).strict()) }
    }
}

impl Default for PickFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for PickFirst {
    type Picker = PickFirstPicker;

    fn build(&mut self, candidates: &Candidates, _: &mut BuildContext) -> Built<PickFirstPicker> {
        let mut order: Vec<_> = candidates.iter().cloned().collect();
        let first = |a: &Candidate, b: &Candidate| {
            let key = |one: &Candidate| (one.tier(), u32::MAX - one.weight());
            key(a).cmp(&key(b)).then_with(|| a.name().cmp(b.name()))
        };
        // Requests rarely pass the first few endpoints, so that a complete sort would be wasted.
        if order.len() > MAX_SORTED {
            order.select_nth_unstable_by(MAX_SORTED, first);
        }
        let sorted = order.len().min(MAX_SORTED);
        order[..sorted].sort_by(first);
        let picker = PickFirstPicker { order: order.into(), load: self.load.share() };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter()
    }
}

/// The picker of [`PickFirst`].
#[expect(unnameable_types, reason = "named as <PickFirst as Strategy>::Picker")]
#[derive(Debug)]
pub struct PickFirstPicker {
    order: Box<[Candidate]>,
    load: Arc<FailureAware<Outstanding>>,
}

/// The number of endpoints that are put in order.
const MAX_SORTED: usize = 64;

/// The failure cost above which an endpoint does not work. Two or three consecutive failures reach
/// it; it takes about two seconds to decay.
const FAILED_COST: f64 = 6.0;
/// The failure cost above which an endpoint gets one request at a time, until one succeeds.
const PROBATION_COST: f64 = 2.5;

impl PickFirstPicker {
    fn works(
        &self,
        candidate: &Candidate,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> bool {
        let score = self.load.score(&candidate.gauge(context.class()), context.clock());
        observer.compare(candidate, || score.cost);
        score.cost <= PROBATION_COST || (score.cost <= FAILED_COST && score.backlog == 0.0)
    }

    fn pick_with(
        &self,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate> {
        observer.step("pick first");
        observer.say(|| "the first that works, by tier, weight and name".to_owned());
        let mut acceptable = None;
        for candidate in &self.order {
            if !context.accepts(candidate) {
                continue;
            }
            if self.works(candidate, context, observer) {
                return Some(candidate);
            }
            observer
                .note(candidate, || format!("fails: its failure cost is above {PROBATION_COST}"));
            acceptable = acceptable.or(Some(candidate));
        }
        // If no endpoint works, the first accepted one is as good as any. If none is accepted, one
        // that the request has tried is better than one that is full.
        acceptable
            .or_else(|| self.order.iter().find(|candidate| context.has_room(candidate)))
            .or_else(|| self.order.first())
    }
}

impl<Req> Pick<Req> for PickFirstPicker {
    observed_pick!(without Req);
}
