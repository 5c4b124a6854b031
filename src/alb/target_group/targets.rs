use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use super::{Target, target_service::TargetAddress};
use crate::{discover::Handle, endpoint::Endpoint, sync::lock};

/// Registers and deregisters the targets of a group while it serves. Clones change the same group.
///
/// Targets of a discovery stream are not in its list.
#[derive(Clone)]
pub struct Targets {
    shared: Arc<Shared>,
}

struct Shared {
    /// The lock also keeps the changes of the handle in the order of the list.
    list: Mutex<BTreeMap<Arc<str>, Target>>,
    handle: Handle<Arc<str>, TargetAddress>,
}

impl Targets {
    pub(super) fn new(handle: Handle<Arc<str>, TargetAddress>) -> Self {
        Self { shared: Arc::new(Shared { list: Mutex::default(), handle }) }
    }

    /// Registers a target, or changes the zone and the weight of the target at this address. It
    /// gets requests once its first health check has passed.
    pub fn register(&self, target: impl Into<Target>) {
        let target = target.into();
        let (id, endpoint) = (target.id(), endpoint(&target));
        let mut list = lock(&self.shared.list);
        list.insert(Arc::clone(&id), target);
        // Fails if the group is gone, and then there is nothing to change.
        let _ = self.shared.handle.insert(id, endpoint);
    }

    /// Deregisters a target by its [id](Target::id). Its requests may finish within the
    /// deregistration delay. Returns false if there is no such target.
    pub fn deregister(&self, id: &str) -> bool {
        let mut list = lock(&self.shared.list);
        let Some((id, _)) = list.remove_entry(id) else { return false };
        let _ = self.shared.handle.remove(id);
        true
    }

    /// Replaces all targets as one change. Those that stay keep their state.
    pub fn replace<T: Into<Target>>(&self, targets: impl IntoIterator<Item = T>) {
        let targets = targets.into_iter().map(Into::into);
        let targets: BTreeMap<_, _> = targets.map(|target| (target.id(), target)).collect();
        let mut list = lock(&self.shared.list);
        *list = targets;
        let endpoints = list.iter().map(|(id, target)| (Arc::clone(id), endpoint(target)));
        let _ = self.shared.handle.reset(endpoints);
    }

    /// Returns the registered targets.
    #[must_use]
    pub fn list(&self) -> Vec<Target> {
        lock(&self.shared.list).values().cloned().collect()
    }
}

fn endpoint(target: &Target) -> Endpoint<TargetAddress> {
    target.endpoint().map(|address| TargetAddress::Http(address.into()))
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Targets").field(&self.list()).finish()
    }
}
