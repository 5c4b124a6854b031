use std::{fmt, sync::Arc};

use super::{Observable, Observed, Report, observable::Component};
use crate::sync::{Mutex, lock};

/// Knows the components of a program that can be observed.
///
/// Clones are handles to one registry. It does not keep components alive: one whose last clone is
/// dropped disappears from it.
#[derive(Clone, Default)]
pub struct Registry {
    components: Arc<Mutex<Components>>,
}

#[derive(Default)]
struct Components {
    known: Vec<(u64, Box<dyn Component>)>,
    /// How many were ever added, which numbers them: two can have one name.
    added: u64,
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
        components.known.retain(|(_, known)| known.read(&mut unused));
        for component in added {
            components.added += 1;
            let number = components.added;
            components.known.push((number, component));
        }
    }

    /// Returns the state of all components. Takes time in proportion to the number of endpoints.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::new();
        lock(&self.components).known.retain(|(number, component)| {
            report.component = *number;
            component.read(&mut report)
        });
        report
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("components", &lock(&self.components).known.len()).finish()
    }
}
