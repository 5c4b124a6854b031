use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{
    Allowance, Attributes, EndpointStats, Health, Locality, Metadata, endpoint_state::Meters,
};
use crate::outcome::Meter;

/// One backend: a target with its attributes and its vitals.
///
/// The target `T` is whatever a stage of discovery knows: an address at first, a `Service` once
/// connected ([`map`](Self::map) turns one into the other). The [attributes](Attributes) are reached
/// by dereferencing.
///
/// Clones share the [`EndpointStats`]. A fresh `Endpoint` under a key that a balancer knows already
/// changes target and attributes in place; the balancer goes on with the vitals it has. Requests that
/// wait for the earlier target to get ready pick again. A clone of the earlier `Endpoint` with other
/// attributes has the same target, and they go on waiting for it. The same holds where a stage of
/// discovery keeps the service because the target is equal, as
/// [`connect`](crate::discover::DiscoverExt::connect) does.
#[derive(Clone, Debug)]
pub struct Endpoint<T> {
    target: T,
    attributes: Attributes,
    stats: Arc<EndpointStats>,
    meters: Meters,
    origin: u32,
}

/// A number that no other target has. It wraps around, which does no harm: it is compared only with
/// those of earlier endpoints under the same key.
fn new_origin() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl<T> Endpoint<T> {
    /// A healthy endpoint of weight 1 in tier 0 with fresh vitals.
    pub fn new(target: T) -> Self {
        let stats = Arc::new(EndpointStats::new());
        let attributes = Attributes::default();
        Self { target, attributes, stats, meters: None, origin: new_origin() }
    }

    /// Sets the weight, relative to other endpoints'. Default 1; 0 means drain.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.attributes.weight = weight;
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

    /// Sets how many more requests it may get, or lifts that bound. Default: no bound.
    ///
    /// How a stage of discovery puts an endpoint on trial: it lets one request through, watches by a
    /// [meter](Self::with_meter) how it ends, and decides by that.
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

    /// The address or service itself.
    pub fn target(&self) -> &T {
        &self.target
    }

    /// What requests to this endpoint have left behind.
    pub fn stats(&self) -> &Arc<EndpointStats> {
        &self.stats
    }

    /// Turns the target into another, an address into a service for example. Attributes stay and
    /// the vitals are shared.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Endpoint<U> {
        Endpoint {
            target: f(self.target),
            attributes: self.attributes,
            stats: self.stats,
            meters: self.meters,
            origin: self.origin,
        }
    }

    /// Borrows the target, sharing the vitals.
    pub fn as_ref(&self) -> Endpoint<&T> {
        Endpoint {
            target: &self.target,
            attributes: self.attributes.clone(),
            stats: Arc::clone(&self.stats),
            meters: self.meters.clone(),
            origin: self.origin,
        }
    }

    /// The same endpoint counting on the vitals of an earlier instance.
    ///
    /// A stage that is given an endpoint under a key it knows calls this, so that all stages and the
    /// balancer read and write one set of vitals.
    #[must_use]
    pub fn with_vitals(mut self, stats: Arc<EndpointStats>) -> Self {
        self.stats = stats;
        self
    }

    /// Hangs one more meter on the endpoint, which learns from the attempts at it beside the meter of
    /// the balancer's strategy: how a stage of discovery watches what requests see.
    #[must_use]
    pub fn with_meter(mut self, meter: Arc<dyn Meter>) -> Self {
        Arc::make_mut(self.meters.get_or_insert_default()).push(meter);
        self
    }

    /// The same endpoint as the successor of `before` under its key: it counts on the vitals of
    /// `before`. It has the origin of `before` if the targets are equal, and otherwise a new one.
    pub(crate) fn succeeding(self, before: &Self) -> Self
    where
        T: PartialEq,
    {
        let origin = if self.target == before.target { before.origin } else { new_origin() };
        Self { stats: Arc::clone(&before.stats), origin, ..self }
    }

    /// The same endpoint with a new origin. A stage that makes a service of the target calls this,
    /// because a clone of an earlier endpoint then has another service.
    pub(crate) fn with_new_origin(self) -> Self {
        Self { origin: new_origin(), ..self }
    }

    /// Identifies the target. [`new`](Self::new) gives each endpoint another origin, and clones keep
    /// it. Under the same key, an endpoint of the same origin has the same target, and one of another
    /// origin may have another.
    pub(crate) fn origin(&self) -> u32 {
        self.origin
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
    /// Equal targets with equal attributes; vitals and meters don't count.
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
    fn clones_and_mapped_endpoints_share_vitals() {
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
