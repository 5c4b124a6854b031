use std::{ops::Deref, sync::Arc};

use super::{
    Allowance, Attributes, EndpointName, EndpointStats, Health, Locality, Metadata, Origin,
    endpoint_state::Meters,
};
use crate::outcome::Meter;

/// One backend: a target with its attributes and its live figures.
///
/// The target `T` is an address at first and a `Service` once a stage of discovery has connected
/// it; [`map`](Self::map) turns one into the other. An endpoint dereferences to its
/// [attributes](Attributes).
///
/// Clones share the [`EndpointStats`]. A new `Endpoint` under a known key is the same endpoint with
/// other attributes if its target is the same: stats, health and measurements stay. Another target
/// is another endpoint: it starts with new stats and new state in all stages and in the balancer.
/// Polled sources, `connect`, `make` and `dedup` of
/// [`DiscoverExt`](crate::discover::DiscoverExt) compare targets, and so do stages of `health` if
/// the targets are strings, numbers, socket addresses or URIs. For targets of other types, put
/// `dedup` before those stages. A target that was never compared, such as a service sent through a
/// [`channel`](crate::discover::channel), is changed in place and keeps the state; to replace it,
/// remove the key first.
#[derive(Clone, Debug)]
pub struct Endpoint<T> {
    target: T,
    attributes: Attributes,
    stats: Arc<EndpointStats>,
    meters: Meters,
    origin: Origin,
    name: EndpointName,
}

impl<T> Endpoint<T> {
    /// Creates a healthy endpoint of weight 1 in tier 0 with new stats.
    pub fn new(target: T) -> Self {
        let stats = Arc::new(EndpointStats::new());
        let attributes = Attributes::default();
        let (origin, name) = (Origin::unknown(), EndpointName::default());
        Self { target, attributes, stats, meters: None, origin, name }
    }

    /// Sets the weight, relative to other endpoints'. Default 1; 0 means drain.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.attributes.set_weight(weight);
        self
    }

    /// Replaces the weight for as long as a stage wants it. The configured weight stays.
    pub(crate) fn with_present_weight(mut self, weight: u32) -> Self {
        self.attributes.set_present_weight(weight);
        self
    }

    /// Sets the priority tier. Default 0, the most preferred.
    #[must_use]
    pub fn with_tier(mut self, tier: u32) -> Self {
        self.attributes.tier = tier;
        self
    }

    /// Sets region and zone. Default unknown.
    #[must_use]
    pub fn with_locality(mut self, locality: Locality) -> Self {
        self.attributes.set(|details| details.locality = Some(locality));
        self
    }

    /// Sets the health. Default [`Health::Healthy`].
    #[must_use]
    pub fn with_health(mut self, health: Health) -> Self {
        self.attributes.set(|details| details.health = health);
        self
    }

    /// Sets how many more requests the endpoint may get, or removes that limit. Default: no limit.
    ///
    /// A stage of discovery puts an endpoint on trial with it: the stage allows one request, sees
    /// how it ends with a [meter](Self::with_meter), and readmits or ejects the endpoint.
    #[must_use]
    pub fn with_allowance(mut self, allowance: impl Into<Option<Allowance>>) -> Self {
        self.attributes.set(|details| details.allowance = allowance.into());
        self
    }

    /// Adds a label, replacing one of the same name.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.set(|details| details.metadata.insert(name.into(), value.into()));
        self
    }

    /// Replaces all labels.
    #[must_use]
    pub fn with_all_metadata(mut self, metadata: Metadata) -> Self {
        self.attributes.set(|details| details.metadata = metadata);
        self
    }

    /// Returns the target: the address or service.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// Returns the live figures of this endpoint.
    pub fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }

    /// Turns the target into another one, such as an address into a service. The attributes stay,
    /// and the stats are shared.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Endpoint<U> {
        Endpoint {
            target: f(self.target),
            attributes: self.attributes,
            stats: self.stats,
            meters: self.meters,
            origin: self.origin,
            name: self.name,
        }
    }

    /// Returns an endpoint that borrows the target and shares the stats.
    pub fn as_ref(&self) -> Endpoint<&T> {
        Endpoint {
            target: &self.target,
            attributes: self.attributes.clone(),
            stats: Arc::clone(&self.stats),
            meters: self.meters.clone(),
            origin: self.origin,
            name: self.name.clone(),
        }
    }

    /// Replaces the stats by those of an earlier endpoint.
    ///
    /// A stage that gets an endpoint under a key it knows calls this, so that all stages and the
    /// balancer read and write the same stats.
    #[must_use]
    pub fn with_stats(mut self, stats: Arc<EndpointStats>) -> Self {
        self.stats = stats;
        self
    }

    /// Adds a meter, which learns from the attempts at the endpoint in addition to the meter of the
    /// balancer's strategy. Stages of discovery see the outcomes of requests with it.
    #[must_use]
    pub fn with_meter(mut self, meter: Arc<dyn Meter>) -> Self {
        Arc::make_mut(self.meters.get_or_insert_default()).push(meter);
        self
    }

    /// Returns this endpoint as the successor of `before` under its key. If the targets are equal,
    /// it has the stats and the origin of `before`. Otherwise it keeps its own stats and has the
    /// origin of another target.
    pub(crate) fn succeeding(self, before: &Self) -> Self
    where
        T: PartialEq,
    {
        if self.origin.replaces(before.origin) {
            // A stage before this one has decided, and reads the stats that this endpoint has.
            self
        } else if self.target == before.target {
            Self { stats: Arc::clone(&before.stats), origin: before.origin, ..self }
        } else {
            self.with_origin(Origin::another())
        }
    }

    /// Returns true if the target or an attribute differs from that of `before`, which had the same
    /// key, or if an earlier stage has found that it is another target.
    pub(crate) fn differs_from(&self, before: &Self) -> bool
    where
        T: PartialEq,
    {
        self != before || self.origin.replaces(before.origin)
    }

    /// Replaces the origin.
    pub(crate) fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Tells whether an endpoint under the same key has the same target.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Replaces the name, for an endpoint of which several balancers get clones.
    pub(crate) fn with_name(self, name: EndpointName) -> Self {
        Self { name, ..self }
    }

    /// Returns where balancers that get clones of the endpoint share its name.
    pub(crate) fn name(&self) -> &EndpointName {
        &self.name
    }

    pub(crate) fn into_parts(self) -> (T, Attributes, Arc<EndpointStats>, Meters) {
        (self.target, self.attributes, self.stats, self.meters)
    }
}

impl<T> Deref for Endpoint<T> {
    type Target = Attributes;

    fn deref(&self) -> &Attributes {
        &self.attributes
    }
}

impl<T: PartialEq> PartialEq for Endpoint<T> {
    /// Compares targets and attributes, not stats and meters.
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && self.attributes == other.attributes
    }
}

impl<T> From<T> for Endpoint<T> {
    fn from(target: T) -> Self {
        Self::new(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_and_mapped_endpoints_share_stats() {
        let first = Endpoint::new(1).with_weight(3);
        let second = first.clone().map(|n| n + 1);
        assert!(Arc::ptr_eq(first.stats(), second.stats()));
        assert_eq!((second.weight(), *second.target()), (3, 2));
    }

    #[test]
    fn attributes_set_back_to_their_defaults_are_the_defaults() {
        let plain = Endpoint::new(());
        let set = plain.clone().with_health(Health::draining("deploy")).with_metadata("a", "b");
        assert_ne!(plain, set);
        let back = set.with_health(Health::Healthy).with_all_metadata(Metadata::default());
        assert_eq!(plain, back);
    }

    #[test]
    fn only_serving_endpoints_of_positive_weight_are_eligible() {
        let endpoint = Endpoint::new(());
        assert!(endpoint.is_eligible());
        assert!(!endpoint.clone().with_weight(0).is_eligible());
        assert!(endpoint.clone().with_health(Health::degraded("slow")).is_eligible());
        assert!(!endpoint.clone().with_health(Health::unhealthy("down")).is_eligible());
        assert!(!endpoint.with_health(Health::draining("deploy")).is_eligible());
    }
}
