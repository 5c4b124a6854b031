use std::{collections::BTreeMap, sync::Arc};

use crate::{
    outcome::Meter,
    strategy::{BuildContext, Built, Candidates, Strategy},
};

/// The inner strategy of a wrapper that divides the candidates: a clone for each part, so that each
/// part keeps its own state.
#[derive(Debug)]
pub(crate) struct PartStrategies<K, St> {
    prototype: St,
    strategies: BTreeMap<K, St>,
}

impl<K: Ord, St: Strategy + Clone> PartStrategies<K, St> {
    pub(crate) fn new(prototype: St) -> Self {
        Self { prototype, strategies: BTreeMap::new() }
    }

    /// Begins to build all parts again. The strategies of parts that are not built are dropped.
    pub(crate) fn rebuild(&mut self) -> Rebuild<'_, K, St> {
        let before = std::mem::take(&mut self.strategies);
        Rebuild { prototype: &self.prototype, before, strategies: &mut self.strategies }
    }

    pub(crate) fn meter(&self) -> Option<Arc<dyn Meter>> {
        self.prototype.meter()
    }
}

/// Builds the parts of a [`PartStrategies`].
pub(crate) struct Rebuild<'a, K, St> {
    prototype: &'a St,
    before: BTreeMap<K, St>,
    strategies: &'a mut BTreeMap<K, St>,
}

impl<K: Ord, St: Strategy + Clone> Rebuild<'_, K, St> {
    /// Builds the part `key` over `candidates`, with the state of its previous build if there was
    /// one.
    pub(crate) fn build(
        &mut self,
        key: K,
        candidates: &Candidates,
        context: &mut BuildContext,
    ) -> Built<St::Picker> {
        let before = self.before.remove(&key);
        let mut strategy = before.unwrap_or_else(|| self.prototype.clone());
        let built = strategy.build(candidates, context);
        self.strategies.insert(key, strategy);
        built
    }
}

impl<K, St: Clone> Clone for PartStrategies<K, St> {
    /// Clones the prototype only: the clone has no parts yet.
    fn clone(&self) -> Self {
        Self { prototype: self.prototype.clone(), strategies: BTreeMap::new() }
    }
}
