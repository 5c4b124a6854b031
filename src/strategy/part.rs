use std::task::{Context, Poll};

use super::{Candidate, Candidates, Pick, PickContext, Strategy};

/// A picker over some of the candidates, of which requests may go to one at least; what strategies
/// that divide the candidates are made of.
#[derive(Debug)]
pub(super) struct Part<P> {
    picker: P,
    candidates: Candidates,
}

impl<P> Part<P> {
    /// `None` if the strategy lets requests go to nobody.
    pub(super) fn new<S>(strategy: &mut S, candidates: &Candidates) -> Option<Self>
    where
        S: Strategy<Picker = P>,
    {
        let picker = strategy.picker(candidates);
        let candidates = strategy.eligible(candidates);
        (!candidates.is_empty()).then_some(Self { picker, candidates })
    }

    /// Whom requests may go to.
    pub(super) fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// Whom the picker chooses. If all are full and it chooses nobody it is one of the full, so that
    /// the request waits: that there is room elsewhere would have it refused.
    #[inline]
    pub(super) fn pick<Req>(
        &self,
        request: &Req,
        context: &mut PickContext<'_>,
    ) -> Option<&Candidate>
    where
        P: Pick<Req>,
    {
        let picked = self.picker.pick(request, context);
        if picked.is_some() || context.accepts_all() {
            return picked;
        }
        let full = !self.candidates.any_has_room_for(context);
        full.then(|| self.candidates.get(context.rng().below(self.candidates.len())))?
    }
}

/// The choice of the first part in which somebody is accepted; else of the first that has room, or of
/// the first.
pub(super) fn first_accepted<'a, P, Req>(
    parts: impl Iterator<Item = &'a Part<P>>,
    request: &Req,
    context: &mut PickContext<'_>,
) -> Option<&'a Candidate>
where
    P: Pick<Req> + 'a,
{
    let mut fallback: Option<&Candidate> = None;
    for part in parts {
        let Some(candidate) = part.pick(request, context) else { continue };
        if context.accepts(candidate) {
            return Some(candidate);
        }
        if fallback.is_none_or(|other| context.has_room(candidate) && !context.has_room(other)) {
            fallback = Some(candidate);
        }
    }
    fallback
}

/// The work of several strategies: there is some if one has some, and will be none if all say so.
pub(super) fn poll_updates<'a, S: Strategy + 'a>(
    strategies: impl Iterator<Item = &'a mut S>,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    strategies.map(|strategy| strategy.poll_update(cx)).fold(Poll::Ready(None), either)
}

/// What two sources of updates have to say together.
pub(super) fn either(one: Poll<Option<()>>, other: Poll<Option<()>>) -> Poll<Option<()>> {
    match (one, other) {
        (Poll::Ready(Some(())), _) | (_, Poll::Ready(Some(()))) => Poll::Ready(Some(())),
        (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        (Poll::Ready(None), Poll::Ready(None)) => Poll::Ready(None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        endpoint::{Attributes, Member, Slots, Tried, Vitals, WaitQueue},
        load::Now,
        strategy::{CHUNK, Rng, RoundRobin},
    };

    /// One candidate that takes so many requests at a time.
    fn part(name: &str, limit: u32) -> (Arc<Vitals>, Part<impl Pick<()>>) {
        let vitals = Arc::new(Vitals::new());
        let slots = Some(Arc::new(Slots::new(limit, Arc::<WaitQueue>::default())));
        let (known, attributes) = (Arc::clone(&vitals), Attributes::default());
        let member = Member::new(name.into(), attributes, known, None, None, slots);
        let mut chunk = [const { None }; CHUNK];
        chunk[0] = Some(Candidate::new(Arc::new(member), 0));
        let candidates = Candidates::from_store([Arc::new(chunk)].into(), 1, true, None);
        (vitals, Part::new(&mut RoundRobin::new(), &candidates).unwrap())
    }

    #[test]
    fn if_none_is_accepted_one_with_room_is_better_than_a_full_one() {
        let ((_, full), (been, tried), (_, free)) =
            (part("full", 0), part("tried", 1), part("free", 1));
        let mut before = Tried::none();
        before.add(&been);
        let mut rng = Rng::seeded(1);
        let mut pick = |parts: &[&Part<_>]| {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &before);
            let picked = first_accepted(parts.iter().copied(), &(), &mut context);
            picked.map(|candidate| candidate.name().to_owned())
        };
        assert_eq!(pick(&[&full, &tried, &free]).as_deref(), Some("free"));
        assert_eq!(pick(&[&full, &tried]).as_deref(), Some("tried"));
        assert_eq!(pick(&[&tried, &full]).as_deref(), Some("tried"));
        assert_eq!(pick(&[&full, &full]).as_deref(), Some("full"), "to wait for");
        assert_eq!(pick(&[]), None);
    }
}
