use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Candidate, Pick, PickContext, Strategy};
use crate::outcome::Meter;

/// The inner strategy of a wrapper that partitions the candidates: a clone for each part, so that each
/// keeps its own state.
#[derive(Debug)]
pub(super) struct Parts<K, St> {
    prototype: St,
    parts: BTreeMap<K, St>,
}

impl<K: Ord, St: Strategy + Clone> Parts<K, St> {
    pub(super) fn new(prototype: St) -> Self {
        Self { prototype, parts: BTreeMap::new() }
    }

    /// The strategy of a part, which is made when it is first asked for.
    pub(super) fn part(&mut self, key: K) -> &mut St {
        self.parts.entry(key).or_insert_with(|| self.prototype.clone())
    }

    pub(super) fn get(&self, key: &K) -> Option<&St> {
        self.parts.get(key)
    }

    /// Forgets the parts that are no more.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.parts.retain(|key, _| keep(key));
    }

    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.prototype.meter()
    }

    /// What the parts want people to know, with `name` in front.
    pub(super) fn notices(&self, name: impl Fn(&K) -> String) -> Vec<String> {
        let named = |(key, part): (&K, &St)| {
            let notices = part.notices().into_iter();
            notices.map(|notice| format!("{}: {notice}", name(key))).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(named).collect()
    }

    pub(super) fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let polled = self.parts.values_mut().map(|part| part.poll_update(cx));
        polled.fold(Poll::Ready(None), either)
    }
}

impl<K, St: Clone> Clone for Parts<K, St> {
    /// A wrapper that is cloned is a prototype itself: its parts don't go along.
    fn clone(&self) -> Self {
        Self { prototype: self.prototype.clone(), parts: BTreeMap::new() }
    }
}

/// What two sources of updates say together.
pub(super) fn either(one: Poll<Option<()>>, other: Poll<Option<()>>) -> Poll<Option<()>> {
    match (one, other) {
        (Poll::Ready(Some(())), _) | (_, Poll::Ready(Some(()))) => Poll::Ready(Some(())),
        (Poll::Ready(None), Poll::Ready(None)) => Poll::Ready(None),
        _ => Poll::Pending,
    }
}

/// What the first of several pickers chooses, unless it is not accepted and that of another is.
#[inline]
pub(super) fn pick_among<'a, P, Req>(
    first: &'a P,
    others: impl IntoIterator<Item = &'a P>,
    request: &Req,
    context: &mut PickContext<'_>,
) -> Option<&'a Candidate>
where
    P: Pick<Req>,
{
    let picked = first.pick(request, context);
    if picked.is_some_and(|candidate| context.accepts(candidate)) {
        return picked;
    }
    let accepted = others.into_iter().find_map(|other| {
        other.pick(request, context).filter(|candidate| context.accepts(candidate))
    });
    accepted.or(picked)
}
