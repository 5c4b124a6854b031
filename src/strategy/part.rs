use std::task::{Context, Poll};

use super::{Candidate, Candidates, Pick, PickContext, Strategy};

/// A picker over some of the candidates, of which one at least is eligible; what strategies that
/// divide the candidates are made of.
#[derive(Debug)]
pub(super) struct Part<P> {
    picker: P,
    candidates: Candidates,
}

impl<P> Part<P> {
    /// `None` if nobody is eligible.
    pub(super) fn new<S>(strategy: &mut S, candidates: Candidates) -> Option<Self>
    where
        S: Strategy<Picker = P>,
    {
        let picker = (!candidates.is_empty()).then(|| strategy.picker(&candidates))?;
        Some(Self { picker, candidates })
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
        let full = !self.candidates.any_has_room(context.rng());
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
        if fallback.is_none_or(|other| candidate.has_room() && !other.has_room()) {
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
