use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    Candidates, Strategy,
    part::{Part, poll_updates},
};
use crate::outcome::Meter;

/// The inner strategy of a wrapper that divides the candidates: a clone for each part, so that each
/// keeps its own state.
#[derive(Debug)]
pub(super) struct Parts<K, St> {
    prototype: St,
    parts: BTreeMap<K, Built<St>>,
}

/// The strategy of a part, and whom it lets requests go to.
#[derive(Debug)]
struct Built<St> {
    strategy: St,
    eligible: Candidates,
}

impl<K: Ord, St: Strategy + Clone> Parts<K, St> {
    pub(super) fn new(prototype: St) -> Self {
        Self { prototype, parts: BTreeMap::new() }
    }

    /// Builds the pickers of all parts anew. Parts that are not built are forgotten.
    pub(super) fn rebuild<T>(&mut self, build: impl FnOnce(&mut Rebuild<'_, K, St>) -> T) -> T {
        let before = std::mem::take(&mut self.parts);
        let mut rebuild = Rebuild { prototype: &self.prototype, before, parts: &mut self.parts };
        build(&mut rebuild)
    }

    /// Whom the parts let requests go to.
    pub(super) fn eligible(&self, candidates: &Candidates) -> Candidates {
        candidates.union(self.parts.values().map(|part| &part.eligible))
    }

    pub(super) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.prototype.meter()
    }

    /// What the parts want people to know, with `name` in front.
    pub(super) fn notices(&self, name: impl Fn(&K) -> String) -> Vec<String> {
        let named = |(key, part): (&K, &Built<St>)| {
            let notices = part.strategy.notices().into_iter();
            notices.map(|notice| format!("{}: {notice}", name(key))).collect::<Vec<_>>()
        };
        self.parts.iter().flat_map(named).collect()
    }

    pub(super) fn poll_update(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        poll_updates(self.parts.values_mut().map(|part| &mut part.strategy), cx)
    }
}

/// The parts while they are built.
pub(super) struct Rebuild<'a, K, St> {
    prototype: &'a St,
    before: BTreeMap<K, Built<St>>,
    parts: &'a mut BTreeMap<K, Built<St>>,
}

impl<K: Ord, St: Strategy + Clone> Rebuild<'_, K, St> {
    /// A part over these candidates; `None` if its strategy lets requests go to nobody.
    pub(super) fn part(&mut self, key: K, candidates: &Candidates) -> Option<Part<St::Picker>> {
        let before = self.before.remove(&key);
        let mut strategy = before.map_or_else(|| self.prototype.clone(), |part| part.strategy);
        let part = Part::new(&mut strategy, candidates);
        let eligible = match &part {
            Some(part) => part.candidates().clone(),
            None => candidates.filter(|_| false),
        };
        self.parts.insert(key, Built { strategy, eligible });
        part
    }
}

impl<K, St: Clone> Clone for Parts<K, St> {
    /// A wrapper that is cloned is a prototype itself: its parts don't go along.
    fn clone(&self) -> Self {
        Self { prototype: self.prototype.clone(), parts: BTreeMap::new() }
    }
}
