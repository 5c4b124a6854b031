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
    known: Vec<Known>,
    /// How many were ever added, which numbers them: two can have one name.
    added: u64,
    /// A registry with more components than this is searched for those that are gone.
    prune_at: usize,
}

#[derive(Clone)]
struct Known {
    number: u64,
    /// The address of what the component reads. 0 if components are not told apart.
    address: usize,
    component: Arc<dyn Component>,
}

/// A registry with this many components, or fewer, is not searched for those that are gone.
const MIN_PRUNE_AT: usize = 64;

impl Registry {
    /// Creates a registry without components.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component, once. Components of one kind should have different names: their metrics
    /// are added up otherwise.
    ///
    /// A balancer, a budget, a pool, a relay, a responder, a gateway or an inspector that the
    /// registry already has is not added again, so layers may share a budget. Another component
    /// that is added twice counts twice.
    pub fn add(&self, component: &impl Observable) {
        let Observed(added) = component.observe();
        let is_crowded = {
            let mut components = lock(&self.components);
            for (address, component) in added {
                let is_known = |known: &Known| address != 0 && known.address == address;
                if components.known.iter().any(is_known) {
                    continue;
                }
                components.added += 1;
                let number = components.added;
                components.known.push(Known { number, address, component });
            }
            components.known.len() > components.prune_at.max(MIN_PRUNE_AT)
        };
        // A program that makes and drops balancers does not make the registry grow.
        if is_crowded {
            drop(self.report());
            let mut components = lock(&self.components);
            components.prune_at = 2 * components.known.len();
        }
    }

    /// Returns the state of all components. Takes time in proportion to the number of endpoints.
    #[must_use]
    pub fn report(&self) -> Report {
        // Read outside of the lock: what is dropped after it was read may be the program's.
        let known = lock(&self.components).known.clone();
        let mut report = Report::new();
        let mut gone = Vec::new();
        for Known { number, component, .. } in known {
            report.component = number;
            if !component.read(&mut report) {
                gone.push(number);
            }
        }
        if !gone.is_empty() {
            lock(&self.components).known.retain(|known| !gone.contains(&known.number));
        }
        report
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("components", &lock(&self.components).known.len()).finish()
    }
}
