use std::sync::Arc;

use super::{Allowance, Health, Locality, Metadata};

/// The attributes of an endpoint that discovery and health checks set. They may change while it
/// serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    weight: u32,
    pub(super) tier: u32,
    /// `None` stands for the defaults, so that plain endpoints take little memory.
    details: Option<Arc<Details>>,
}

/// The attributes that few endpoints have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) health: Health,
    pub(super) locality: Option<Locality>,
    pub(super) metadata: Metadata,
    pub(super) allowance: Option<Allowance>,
    /// The weight as discovery has set it, if a stage has replaced it.
    configured_weight: Option<u32>,
}

static NO_DETAILS: Details = Details {
    health: Health::Healthy,
    locality: None,
    metadata: Metadata::EMPTY,
    allowance: None,
    configured_weight: None,
};

impl Attributes {
    /// Returns the weight: the share of traffic relative to other endpoints. 0 means drain.
    ///
    /// It is the present one: slow start and overload backoff change it.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns the weight as discovery has set it.
    #[must_use]
    pub fn configured_weight(&self) -> u32 {
        self.details().configured_weight.unwrap_or(self.weight)
    }

    /// Returns the priority tier; 0 is the most preferred.
    #[must_use]
    pub fn tier(&self) -> u32 {
        self.tier
    }

    /// Returns the health, which says whether the endpoint should get new requests.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.details().health
    }

    /// Returns the region and zone, if known.
    #[must_use]
    pub fn locality(&self) -> Option<&Locality> {
        self.details().locality.as_ref()
    }

    /// Returns the labels.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.details().metadata
    }

    /// Returns the requests that the endpoint may still get if it is on trial; `None` is no limit.
    #[must_use]
    pub fn allowance(&self) -> Option<&Allowance> {
        self.details().allowance.as_ref()
    }

    /// Returns true if the endpoint may get new requests: it is serving and its weight is not 0.
    #[must_use]
    pub fn is_eligible(&self) -> bool {
        self.weight > 0 && self.health().is_serving()
    }

    /// Sets the weight that discovery wants.
    pub(super) fn set_weight(&mut self, weight: u32) {
        self.weight = weight;
        if self.details().configured_weight.is_some() {
            self.set(|details| details.configured_weight = None);
        }
    }

    /// Sets the weight that a stage wants at present.
    pub(super) fn set_present_weight(&mut self, weight: u32) {
        let configured = self.configured_weight();
        self.set(|details| details.configured_weight = Some(configured));
        self.weight = weight;
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
    /// Returns weight 1, tier 0, healthy, no locality and no metadata.
    fn default() -> Self {
        Self { weight: 1, tier: 0, details: None }
    }
}
