use std::sync::Arc;

use super::{Allowance, Health, Locality, Metadata};

/// What discovery and health checks say of an endpoint; all of it may change while it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub(super) weight: u32,
    pub(super) tier: u32,
    /// `None` stands for the default, so that plain endpoints take little memory.
    details: Option<Arc<Details>>,
}

/// What most endpoints have not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) health: Health,
    pub(super) locality: Option<Locality>,
    pub(super) metadata: Metadata,
    pub(super) allowance: Option<Allowance>,
}

static NO_DETAILS: Details =
    Details { health: Health::Healthy, locality: None, metadata: Metadata::EMPTY, allowance: None };

impl Attributes {
    /// The share of traffic relative to other endpoints' weights; 0 means drain.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// The priority tier; 0 is the most preferred.
    #[must_use]
    pub fn tier(&self) -> u32 {
        self.tier
    }

    /// Whether the endpoint should get new requests.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.details().health
    }

    /// Region and zone, if known.
    #[must_use]
    pub fn locality(&self) -> Option<&Locality> {
        self.details().locality.as_ref()
    }

    /// Free labels.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.details().metadata
    }

    /// How many more requests it may get, if that is bounded: it is on trial.
    #[must_use]
    pub fn allowance(&self) -> Option<&Allowance> {
        self.details().allowance.as_ref()
    }

    /// True if new requests may go there: it is serving and its weight is not 0.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.weight > 0 && self.health().is_serving()
    }

    fn details(&self) -> &Details {
        self.details.as_deref().unwrap_or(&NO_DETAILS)
    }

    pub(super) fn set(&mut self, set: impl FnOnce(&mut Details)) {
        set(Arc::make_mut(self.details.get_or_insert_default()));
        self.details.take_if(|details| **details == NO_DETAILS);
    }
}

impl Default for Attributes {
    /// Weight 1, tier 0, healthy, no locality, no metadata.
    fn default() -> Self {
        Self { weight: 1, tier: 0, details: None }
    }
}
