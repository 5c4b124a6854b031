use std::sync::Arc;

use super::{
    built_parts::{BuiltParts, PartPicker, first_accepted},
    part_strategies::PartStrategies,
};
use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy},
};

/// Only endpoints that have certain labels, chosen among by any strategy; with an ordered list of
/// what else will do.
///
/// ```
/// use tower_lb::strategy::{P2c, Subset};
///
/// let strategy = Subset::new(P2c::default(), [("version", "2"), ("stage", "prod")])
///     .or([("stage", "prod")])
///     .or_any();
/// ```
///
/// The list is gone down to the first subset that has an *eligible* endpoint. Where an endpoint may
/// be full, or was tried before by the request, it is gone down further for one that
/// [will do](PickContext::accepts); if there is none, the request waits for one of the list, and
/// delays only requests that compete for the same endpoints. Without [`or_any`](Self::or_any), while no
/// subset has an eligible endpoint the balancer has none that is available.
///
/// Source: Envoy's subset load balancer. Where we differ: there the fallback holds for subsets that
/// don't exist, not for those whose endpoints are all unhealthy, and there is but one.
#[derive(Clone, Debug)]
pub struct Subset<S> {
    parts: PartStrategies<usize, S>,
    subsets: Vec<Labels>,
}

impl<S: Strategy + Clone> Subset<S> {
    /// Endpoints that have all of these labels.
    pub fn new(
        inner: S,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        Self { parts: PartStrategies::new(inner), subsets: Vec::new() }.or(labels)
    }

    /// If none of those is eligible: endpoints that have all of these.
    #[must_use]
    pub fn or(
        mut self,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.subsets.push(Labels::new(labels));
        self
    }

    /// If none of those is eligible: any endpoint.
    #[must_use]
    pub fn or_any(mut self) -> Self {
        self.subsets.push(Labels::default());
        self
    }
}

impl<S: Strategy + Clone> Strategy for Subset<S> {
    type Picker = SubsetPicker<S::Picker>;

    fn build(
        &mut self,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<Self::Picker> {
        let (mut inner, mut all) = (self.parts.rebuild(), BuiltParts::default());
        let subsets = self.subsets.iter().enumerate().filter_map(|(item, labels)| {
            let mut part = labels.select(candidates);
            if item + 1 == self.subsets.len() {
                part = part.confined();
            }
            let built = inner.build(item, &part, context);
            all.add(format_args!("subset {item}"), built)
        });
        let parts = subsets.collect();
        all.finish(candidates, SubsetPicker { parts })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

/// The picker of [`Subset`].
#[derive(Debug)]
pub struct SubsetPicker<P> {
    parts: Box<[PartPicker<P>]>,
}

impl<P: Pick<Req>, Req> Pick<Req> for SubsetPicker<P> {
    #[inline]
    fn pick(&self, request: &Req, context: &mut PickContext<'_>) -> Option<&Candidate> {
        first_accepted(self.parts.iter(), request, context)
    }
}

/// Labels that an endpoint must have; any endpoint has none of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Vec<(String, String)>);

impl Labels {
    pub(super) fn new(
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let labels = labels.into_iter();
        Self(labels.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The candidates that have all of them.
    pub(super) fn select(&self, candidates: &Candidates) -> Candidates {
        if self.0.is_empty() {
            return candidates.clone();
        }
        candidates.part(|candidate| {
            let metadata = candidate.metadata();
            self.0.iter().all(|(name, value)| metadata.get(name) == Some(value))
        })
    }
}
