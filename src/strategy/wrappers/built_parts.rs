use std::{
    fmt::{Display, Write as _},
    sync::Arc,
};

use crate::strategy::{
    Built, Candidate, Candidates, Explainer, Pick, PickContext,
    explain::{Brief, Observe, Rule, Rules, Silent},
};

/// Collects what inner strategies build over parts of the candidates, for a wrapper that divides
/// them.
///
/// [`finish`](Self::finish) merges the eligible candidates and the notices of all parts.
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc};
/// use tower_lb::{
///     outcome::Meter,
///     strategy::{
///         BuildContext, Built, BuiltParts, Candidate, Candidates, PartPicker, Pick, PickContext,
///         Strategy,
///     },
/// };
///
/// /// Sends each request to endpoints of the version that it names.
/// struct ByVersion<St>(St);
///
/// impl<St: Strategy> Strategy for ByVersion<St> {
///     type Picker = ByVersionPicker<St::Picker>;
///
///     fn build(
///         &mut self,
///         candidates: &Candidates,
///         context: &mut BuildContext,
///     ) -> Built<Self::Picker> {
///         let mut parts = BuiltParts::new();
///         let mut pickers = BTreeMap::new();
///         let by_version = candidates.partition(|one| one.metadata().get("version"));
///         for (version, part) in by_version {
///             // Requests of one version do not move to another.
///             let built = self.0.build(&part.confined(), context);
///             if let Some(picker) = parts.add(version, built) {
///                 pickers.insert(version.to_owned(), picker);
///             }
///         }
///         parts.finish(candidates, ByVersionPicker(pickers))
///     }
///
///     fn meter(&self) -> Option<Arc<dyn Meter>> {
///         self.0.meter()
///     }
/// }
///
/// struct ByVersionPicker<P>(BTreeMap<String, PartPicker<P>>);
///
/// impl<P: Pick<String>> Pick<String> for ByVersionPicker<P> {
///     fn pick(&self, version: &String, context: &mut PickContext<'_>) -> Option<&Candidate> {
///         PartPicker::first_accepted(self.0.get(version), version, context)
///     }
/// }
/// ```
#[derive(Debug, Default)]
pub struct BuiltParts {
    eligible: Vec<Candidates>,
    notices: Vec<String>,
    /// Those of parts without an eligible candidate, which have no picker.
    rules: Vec<Rule>,
}

impl BuiltParts {
    /// Creates a collection without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part. Its notices are prefixed with `name`.
    ///
    /// Returns the part's picker, or `None` if the part has no eligible candidate.
    pub fn add<P>(&mut self, name: impl Display, built: Built<P>) -> Option<PartPicker<P>> {
        let (name, rules) = (name.to_string(), built.rules());
        let Built { picker, eligible, notices, .. } = built;
        self.notices.extend(notices.into_iter().map(|notice| format!("{name}: {notice}")));
        if eligible.is_empty() {
            self.rules.extend(rules.iter().map(|rule| rule.clone().in_empty_part(&name)));
            return None;
        }
        self.eligible.push(eligible.clone());
        Some(PartPicker { name: name.into(), picker, eligible, rules })
    }

    /// Returns `picker` with the candidates that are eligible in any part, and the notices of all
    /// parts. `candidates` are those that the parts were taken from.
    pub fn finish<P>(self, candidates: &Candidates, picker: P) -> Built<P> {
        let built = Built::new(picker, candidates.union(&self.eligible));
        built.with_notices(self.notices).with_rules(self.rules.into_iter().map(Rule::wrapped))
    }
}

/// The picker of one part of the candidates, at least one of which is eligible; see
/// [`BuiltParts::add`].
#[derive(Debug)]
pub struct PartPicker<P> {
    name: Arc<str>,
    picker: P,
    eligible: Candidates,
    rules: Rules,
}

impl<P> PartPicker<P> {
    /// Describes a draw among parts by shares in any unit, for explanations.
    pub(crate) fn describe_draw(drawn: &Self, parts: &[Self], shares: &[f64]) -> String {
        let all: f64 = shares.iter().sum();
        let mut text = format!("draws {}", Brief::name(&drawn.name));
        let mut sharing = parts.iter().zip(shares).filter(|(_, share)| **share > 0.0);
        let count = sharing.clone().count();
        if count < 2 {
            text.push_str(", which gets all requests");
            return text;
        }
        for (number, (part, share)) in sharing.by_ref().take(MAX_DESCRIBED).enumerate() {
            let separator = if number == 0 { "; the shares are " } else { ", " };
            let (name, share) = (Brief::name(&part.name), share / all * 100.0);
            let _ = write!(text, "{separator}{name} {share:.1} %");
        }
        if let more @ 1.. = count.saturating_sub(MAX_DESCRIBED) {
            let _ = write!(text, " and {more} more");
        }
        text
    }

    /// Returns the name of the part, as it was [added](BuiltParts::add).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the choice of the first part that finds an [accepted](PickContext::accepts)
    /// candidate; otherwise the first choice that has room, or else the first choice.
    ///
    /// If no part makes a choice and the candidates of one are full, the request waits for them,
    /// although candidates of other parts may have room.
    pub fn first_accepted<'a, Req>(
        parts: impl IntoIterator<Item = &'a Self>,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + 'a,
    {
        Self::first_accepted_with(parts, request, context, &mut Silent)
    }

    /// Picks as [`first_accepted`](Self::first_accepted) does, and tells `explainer` why, for
    /// [`Pick::explain`]. Call it after [`Explainer::step`].
    ///
    /// The explanation says of the candidates of parts that are not asked that they are not in
    /// those that are.
    pub fn explain_first_accepted<'a, Req>(
        parts: impl IntoIterator<Item = &'a Self>,
        request: &Req,
        context: &mut PickContext<'_>,
        explainer: &mut Explainer,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + 'a,
    {
        Self::first_accepted_with(parts, request, context, explainer)
    }

    #[inline]
    pub(crate) fn first_accepted_with<'a, Req>(
        parts: impl IntoIterator<Item = &'a Self>,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Option<&'a Candidate>
    where
        P: Pick<Req> + 'a,
    {
        let mut fallback: Option<&Candidate> = None;
        let mut no_match = true;
        observer.divides();
        for part in parts {
            let candidate = match part.pick(request, context, observer) {
                Choice::Candidate(candidate) => candidate,
                Choice::Nothing => {
                    no_match = false;
                    continue;
                }
                Choice::NoMatch => continue,
            };
            if context.accepts(candidate) {
                return Some(candidate);
            }
            if fallback.is_none_or(|other| context.has_room(candidate) && !context.has_room(other))
            {
                fallback = Some(candidate);
            }
        }
        context.set_no_match(no_match && fallback.is_none());
        fallback
    }

    #[inline]
    fn pick<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
        observer: &mut impl Observe,
    ) -> Choice<'_>
    where
        P: Pick<Req>,
    {
        let Self { name, picker, eligible, rules } = self;
        if let Some(candidate) = observer.part((name, eligible, rules), picker, request, context) {
            return Choice::Candidate(candidate);
        }
        if context.take_no_match() {
            return Choice::NoMatch;
        }
        // By default the balancer rejects a request for which nothing is picked while any candidate
        // has room. Candidates outside of this part must not count.
        if !context.accepts_all() && !self.eligible.any_has_room_for(context) {
            context.allow_wait();
        }
        Choice::Nothing
    }
}

/// How many parts an explanation names with their shares.
const MAX_DESCRIBED: usize = 5;

/// What the picker of one part has chosen.
enum Choice<'a> {
    Candidate(&'a Candidate),
    Nothing,
    /// The part has no candidate that matches the request, full or not.
    NoMatch,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        endpoint::{Attributes, EndpointState, EndpointStats, Slots, Tried, WaitQueue},
        load::Now,
        strategy::{BuildContext, CHUNK, Rng, RoundRobin, Strategy as _},
    };

    /// A part of one candidate that takes `limit` requests at a time.
    fn part(name: &str, limit: u32) -> (Arc<EndpointStats>, PartPicker<impl Pick<()>>) {
        let stats = Arc::new(EndpointStats::new());
        let slots = Some(Arc::new(Slots::new(limit, Arc::<WaitQueue>::default())));
        let (known, attributes) = (Arc::clone(&stats), Attributes::default());
        let endpoint_state = EndpointState::new(name.into(), attributes, known, None, None, slots);
        let mut chunk = [const { None }; CHUNK];
        chunk[0] = Some(Candidate::new(Arc::new(endpoint_state), 0));
        let candidates = Candidates::from_store([Arc::new(chunk)].into(), 1, true, None);
        let built = RoundRobin::new().build(&candidates, &mut BuildContext::new());
        (stats, BuiltParts::new().add(name, built).unwrap())
    }

    #[test]
    fn if_none_is_accepted_one_with_room_is_better_than_a_full_one() {
        let ((_, full), (been, tried), (_, free)) =
            (part("full", 0), part("tried", 1), part("free", 1));
        let mut before = Tried::none();
        before.add(&been);
        let mut rng = Rng::seeded(1);
        let mut pick = |parts: &[&PartPicker<_>]| {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &before);
            let picked = PartPicker::first_accepted(parts.iter().copied(), &(), &mut context);
            let picked = picked.map(|candidate| candidate.name().to_owned());
            picked.unwrap_or_else(|| if context.waits() { "waits" } else { "none" }.to_owned())
        };
        assert_eq!(pick(&[&full, &tried, &free]), "free");
        assert_eq!(pick(&[&full, &tried]), "tried");
        assert_eq!(pick(&[&tried, &full]), "tried");
        assert_eq!(pick(&[&full, &full]), "waits");
        assert_eq!(pick(&[]), "none");
    }
}
