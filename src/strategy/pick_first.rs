use std::sync::Arc;

use super::{
    BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy, metered::Metered,
};
use crate::{
    load::{FailureAware, Load, Outstanding},
    outcome::Meter,
};

/// The first endpoint that works, for all requests; the next ones only while it doesn't, or while it
/// has no room.
///
/// First is the lowest tier, then the greatest weight, then the name; behind the first 64 there is no
/// order. Health decides as everywhere, and
/// so do failures: after two or three in a row requests go to the next endpoint. The better one is
/// tried again with one request at a time, a few seconds later and from then on, and has all requests
/// again once that succeeds.
///
/// Source: gRPC's `pick_first`. Where we differ: gRPC goes by connections and stays with the endpoint
/// it has found until that breaks; here it is the order that counts, and outcomes.
#[derive(Clone, Debug)]
pub struct PickFirst {
    load: Metered<FailureAware<Outstanding>>,
}

impl PickFirst {
    /// By tier, weight and name.
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
        // It is rare that a request comes past the first few; those behind need no order.
        if order.len() > SORTED {
            order.select_nth_unstable_by(SORTED, first);
        }
        let sorted = order.len().min(SORTED);
        order[..sorted].sort_by(first);
        let picker = PickFirstPicker { order: order.into(), load: self.load.share() };
        Built::new(picker, candidates.clone())
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.load.meter()
    }
}

/// The picker of [`PickFirst`].
#[derive(Debug)]
pub struct PickFirstPicker {
    order: Box<[Candidate]>,
    load: Arc<FailureAware<Outstanding>>,
}

/// How many are put in order.
const SORTED: usize = 64;

/// Failures charged above this mean that an endpoint doesn't work: two or three in a row, which are forgiven
/// after about two seconds.
const BROKEN: f64 = 6.0;
/// Failures charged above this mean that it has yet to show that it works again.
const DOUBTFUL: f64 = 2.5;

impl PickFirstPicker {
    fn works(&self, candidate: &Candidate, context: &mut PickContext<'_>) -> bool {
        let score = self.load.score(&candidate.gauge(context.class()), context.clock());
        score.cost <= DOUBTFUL || (score.cost <= BROKEN && score.backlog == 0.0)
    }
}

impl<Req> Pick<Req> for PickFirstPicker {
    fn pick(&self, _request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        let mut acceptable = None;
        for candidate in &self.order {
            if !context.accepts(candidate) {
                continue;
            }
            if self.works(candidate, context) {
                return Some(candidate);
            }
            acceptable = acceptable.or(Some(candidate));
        }
        // Nobody works: the first is as good as any. Nobody is accepted: one with room.
        acceptable
            .or_else(|| self.order.iter().find(|candidate| candidate.has_room()))
            .or_else(|| self.order.first())
    }
}
