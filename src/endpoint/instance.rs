use std::{fmt, sync::Arc};

use super::{Endpoint, Vitals};
use crate::escape::Escaped;

/// Which endpoint it was, down to the instance: one that was removed and has come back under the same
/// key is another.
///
/// Errors name one, and so do the extensions of an HTTP response that says that
/// its endpoint failed: whoever tries again knows which endpoint to avoid.
#[derive(Clone)]
pub struct Instance {
    name: Arc<str>,
    vitals: Arc<Vitals>,
}

impl Instance {
    /// An endpoint under its key as text.
    pub fn new<T>(name: impl Into<Arc<str>>, endpoint: &Endpoint<T>) -> Self {
        Self { name: name.into(), vitals: Arc::clone(endpoint.vitals()) }
    }

    pub(crate) fn of(name: &Arc<str>, vitals: &Arc<Vitals>) -> Self {
        Self { name: Arc::clone(name), vitals: Arc::clone(vitals) }
    }

    /// The endpoint's key, as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint's live figures.
    #[must_use]
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.vitals, &other.vitals)
    }
}

impl Eq for Instance {}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(&self.name))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.name).finish()
    }
}
