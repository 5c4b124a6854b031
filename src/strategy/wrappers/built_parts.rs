use std::fmt::Display;

use crate::strategy::{Built, Candidate, Candidates, Pick, PickContext};

/// A picker over some of the candidates, at least one of which is eligible: what strategies that
/// divide the candidates are made of.
#[derive(Debug)]
pub(crate) struct PartPicker<P> {
    picker: P,
    eligible: Candidates,
}

impl<P> PartPicker<P> {
    /// The picker's choice. If it chooses none and all candidates are full, the request waits: that
    /// there is room elsewhere would have it refused.
    #[inline]
    fn pick<Req>(&self, request: &Req, context: &mut PickContext<'_>) -> Picked<'_>
    where
        P: Pick<Req>,
    {
        if let Some(candidate) = self.picker.pick(request, context) {
            return Picked::Candidate(candidate);
        }
        if context.take_away() {
            return Picked::Away;
        }
        if !context.accepts_all() && !self.eligible.any_has_room_for(context) {
            context.set_waits();
        }
        Picked::Nothing
    }
}

enum Picked<'a> {
    Candidate(&'a Candidate),
    Nothing,
    /// No candidate is for the request.
    Away,
}

/// The choice of the first part in which a candidate is accepted; else of the first that has room, or of
/// the first.
pub(crate) fn first_accepted<'a, P, Req>(
    parts: impl Iterator<Item = &'a PartPicker<P>>,
    request: &Req,
    context: &mut PickContext<'_>,
) -> Option<&'a Candidate>
where
    P: Pick<Req> + 'a,
{
    let mut fallback: Option<&Candidate> = None;
    let mut away = true;
    for part in parts {
        let candidate = match part.pick(request, context) {
            Picked::Candidate(candidate) => candidate,
            Picked::Nothing => {
                away = false;
                continue;
            }
            Picked::Away => continue,
        };
        if context.accepts(candidate) {
            return Some(candidate);
        }
        if fallback.is_none_or(|other| context.has_room(candidate) && !context.has_room(other)) {
            fallback = Some(candidate);
        }
    }
    context.set_away(away && fallback.is_none());
    fallback
}

/// What a strategy that divides the candidates has built of its parts so far.
#[derive(Debug, Default)]
pub(crate) struct BuiltParts {
    eligible: Vec<Candidates>,
    notices: Vec<String>,
}

impl BuiltParts {
    /// Adds a part; its notices are shown behind `name`. `None` if requests may go to none of its
    /// candidates.
    pub(crate) fn add<P>(&mut self, name: impl Display, built: Built<P>) -> Option<PartPicker<P>> {
        let Built { picker, eligible, notices } = built;
        self.notices.extend(notices.into_iter().map(|notice| format!("{name}: {notice}")));
        if eligible.is_empty() {
            return None;
        }
        self.eligible.push(eligible.clone());
        Some(PartPicker { picker, eligible })
    }

    /// The whole: the candidates that any part may pick, and what all parts have to say.
    pub(crate) fn finish<P>(self, candidates: &Candidates, picker: P) -> Built<P> {
        Built { picker, eligible: candidates.union(&self.eligible), notices: self.notices }
    }
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

    /// One candidate that takes so many requests at a time.
    fn part(name: &str, limit: u32) -> (Arc<EndpointStats>, PartPicker<impl Pick<()>>) {
        let stats = Arc::new(EndpointStats::new());
        let slots = Some(Arc::new(Slots::new(limit, Arc::<WaitQueue>::default())));
        let (known, attributes) = (Arc::clone(&stats), Attributes::default());
        let endpoint_state = EndpointState::new(name.into(), attributes, known, None, None, slots);
        let mut chunk = [const { None }; CHUNK];
        chunk[0] = Some(Candidate::new(Arc::new(endpoint_state), 0));
        let candidates = Candidates::from_store([Arc::new(chunk)].into(), 1, true, None);
        let built = RoundRobin::new().build(&candidates, &mut BuildContext::new());
        (stats, BuiltParts::default().add(name, built).unwrap())
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
            let picked = first_accepted(parts.iter().copied(), &(), &mut context);
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
