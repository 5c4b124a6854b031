use std::{fmt, sync::Arc};

use super::{Attributes, Slots, Vitals};
use crate::outcome::Meter;

/// An endpoint as one balancer has it: its name and attributes, and what the balancer hangs on it.
///
/// Replaced as a whole when attributes change; vitals, meter and slots are handed on.
///
/// What each request touches comes first, on the cache line of the reference counts.
#[repr(C)]
pub(crate) struct Member {
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) slots: Option<Arc<Slots>>,
    pub(crate) meter: Option<Arc<dyn Meter>>,
    pub(crate) name: Arc<str>,
    pub(crate) attributes: Attributes,
}

impl Member {
    /// The same endpoint with other attributes.
    pub(crate) fn with(&self, attributes: Attributes) -> Self {
        Self {
            vitals: Arc::clone(&self.vitals),
            slots: self.slots.clone(),
            meter: self.meter.clone(),
            name: Arc::clone(&self.name),
            attributes,
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.name)
            .field("attributes", &self.attributes)
            .field("vitals", &self.vitals)
            .finish_non_exhaustive()
    }
}
