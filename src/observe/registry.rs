use std::{fmt, sync::Arc};

use super::{BalancerReport, Report};
use crate::{
    Balancer,
    balance::Monitor,
    strategy::Strategy,
    sync::{Mutex, lock},
};

/// Knows the components of a program that can be observed.
///
/// Clones are handles to one registry. It does not keep balancers alive: one whose last clone is
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

/// A component that a [`Registry`] can observe: balancers, and layers that count.
pub trait Observable {
    /// Returns what the registry keeps of the component.
    fn observe(&self) -> Observed;
}

/// What a [`Registry`] keeps of a component.
pub struct Observed(Box<dyn Component>);

/// A component in a registry.
trait Component: Send + Sync {
    fn is_alive(&self) -> bool;
    fn read(&self, id: u64, report: &mut Report);
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
        let Observed(component) = component.observe();
        let mut components = lock(&self.components);
        // A program that makes and drops balancers does not make the registry grow.
        components.known.retain(|(_, known)| known.is_alive());
        components.added += 1;
        let id = components.added;
        components.known.push((id, component));
    }

    /// Returns the state of all components. Takes time in proportion to the number of endpoints.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = Report::new();
        for (id, component) in &lock(&self.components).known {
            component.read(*id, &mut report);
        }
        report
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("components", &lock(&self.components).known.len()).finish()
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl<S, St, T> Observable for Balancer<S, St, T>
where
    S: Send + Sync + 'static,
    St: Strategy<Picker: Send + Sync + 'static>,
{
    fn observe(&self) -> Observed {
        Observed(Box::new(self.monitor()))
    }
}

impl Component for Monitor {
    fn is_alive(&self) -> bool {
        self.is_alive()
    }

    fn read(&self, id: u64, report: &mut Report) {
        if let (Some(status), Some(events)) = (self.status(), self.events()) {
            report.balancers.push(BalancerReport { status, events, id });
        }
    }
}
