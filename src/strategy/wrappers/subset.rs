use std::{fmt, sync::Arc};

use super::{
    built_parts::{BuiltParts, PartPicker},
    part_strategies::PartStrategies,
};
use crate::{
    outcome::Meter,
    strategy::{
        BuildContext, Built, Candidate, Candidates, Pick, PickContext, Strategy,
        explain::{Brief, Observe, observed_pick},
    },
};

/// Selects among endpoints that have certain labels, with an ordered list of fallback subsets.
///
/// ```
/// use tower_lb::strategy::{P2c, Subset};
///
/// let strategy = Subset::new(P2c::default(), [("version", "2"), ("stage", "prod")])
///     .or([("stage", "prod")])
///     .or_any();
/// ```
///
/// A request goes to the first subset that has an *eligible* endpoint. If no endpoint there is
/// [accepted](PickContext::accepts), because all are full or already tried, the request goes to the
/// next subset. If no subset has an accepted endpoint, the request waits for any of them; it delays
/// only requests that compete for the same endpoints. Without [`or_any`](Self::or_any), the
/// balancer has no available endpoint while no subset has an eligible one.
///
/// Source: Envoy's subset load balancer. Where this differs: Envoy has one fallback, used for
/// subsets that do not exist, not for subsets whose endpoints are all unhealthy.
#[derive(Clone, Debug)]
pub struct Subset<S> {
    parts: PartStrategies<usize, S>,
    subsets: Vec<Labels>,
}

impl<S: Strategy + Clone> Subset<S> {
    /// Selects among endpoints that have all of `labels`, by the strategy `inner`.
    pub fn new(
        inner: S,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        Self { parts: PartStrategies::new(inner), subsets: Vec::new() }.or(labels)
    }

    /// Adds a fallback subset: endpoints that have all of `labels`.
    #[must_use]
    pub fn or(
        mut self,
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        self.subsets.push(Labels::new(labels));
        self
    }

    /// Adds all endpoints as the last fallback.
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
            // The requests of the last subset have no other endpoints to go to.
            if item + 1 == self.subsets.len() {
                part = part.confined();
            }
            let built = inner.build(item, &part, context);
            all.add(format_args!("subset {item}"), built).map(|part| (part, labels.clone()))
        });
        let (parts, labels): (Vec<_>, Vec<_>) = subsets.unzip();
        all.finish(candidates, SubsetPicker { parts: parts.into(), labels: labels.into() })
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.parts.meter()
    }
}

/// The picker of [`Subset`].
#[expect(unnameable_types, reason = "named as <Subset as Strategy>::Picker")]
#[derive(Debug)]
pub struct SubsetPicker<P> {
    parts: Box<[PartPicker<P>]>,
    /// Those of each part, for explanations.
    labels: Box<[Labels]>,
}

impl<P> SubsetPicker<P> {
    #[inline]
    fn pick_with<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        observer.step("subset");
        observer.say(|| match self.parts.first().zip(self.labels.first()) {
            Some((part, labels)) => {
                format!("the first with an eligible endpoint is {}: {labels}", part.name())
            }
            None => "no subset has an eligible endpoint".to_owned(),
        });
        PartPicker::first_accepted_with(&self.parts, request, context, observer)
    }
}

impl<P: Pick<Req>, Req> Pick<Req> for SubsetPicker<P> {
    observed_pick!(Req);
}

/// Labels that an endpoint must have. Without labels, every endpoint matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels(Arc<[(String, String)]>);

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any endpoint");
        }
        for (number, (name, value)) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{}={}", Brief::name(name), Brief::name(value))?;
        }
        Ok(())
    }
}

impl Labels {
    pub(super) fn new(
        labels: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Self {
        let labels = labels.into_iter();
        Self(labels.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Returns the candidates that have all of the labels.
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
