use std::{fmt, sync::Arc};

use super::{Observable, Observed, Report, observable::Component};
use crate::sync::{Mutex, lock};

/// Knows the components of a program that can be observed.
///
/// Clones are handles to one registry. It does not keep components alive: one whose last clone is
/// dropped disappears from it.
#[derive(Clone, Default)]
pub struct Registry {
    components: Arc<Mutex<Vec<Box<dyn Component>>>>,
}

impl Registry {
    /// Creates a registry without components.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component. Components of one kind should have different names: their metrics are
    /// added up otherwise.
    pub fn add(&self, component: &impl Observable) {
        let Observed(added) = component.observe();
        let mut components = lock(&self.components);
        // A program that makes and drops balancers does not make the registry grow.
        let mut unused = Report::new();
        components.retain(|known| known.read(&mut unused));
        components.extend(added);
    }

    /// Returns the state of all components. Takes time in proportion to the number of endpoints.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::new();
        lock(&self.components).retain(|component| component.read(&mut report));
        report
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("components", &lock(&self.components).len()).finish()
    }
}
