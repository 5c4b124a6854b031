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

/// One backend: a target with its attributes and its live figures.
///
/// The target `T` is an address at first and a `Service` once a stage of discovery has connected
/// it; [`map`](Self::map) turns one into the other. An endpoint dereferences to its
/// [attributes](Attributes).
///
/// Clones share the [`EndpointStats`]. A new `Endpoint` under a key that a balancer knows changes
/// the target and the attributes in place, and the balancer keeps the stats that it has. Requests
/// that wait for the earlier target to get ready then pick again. They go on waiting if the target
/// is the same: in a clone of the earlier `Endpoint` with other attributes, or where a stage of
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

/// Returns a number that no other target has.
///
/// The counter may wrap around, because an origin is compared only with that of the earlier
/// endpoint under the same key. A shared pointer would need no static, but an allocation per
/// endpoint and 8 bytes more per balancer.
fn new_origin() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl<T> Endpoint<T> {
    /// Creates a healthy endpoint of weight 1 in tier 0 with new stats.
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

    /// Returns this endpoint as the successor of `before` under its key, with the stats of
    /// `before`. It has the origin of `before` if the targets are equal, and otherwise a new one.
    pub(crate) fn succeeding(self, before: &Self) -> Self
    where
        T: PartialEq,
    {
        let origin = if self.target == before.target { before.origin } else { new_origin() };
        Self { stats: Arc::clone(&before.stats), origin, ..self }
    }

    /// Returns this endpoint with a new origin. A stage that makes a service of the target calls
    /// this, because a clone of an earlier endpoint then has another service.
    pub(crate) fn with_new_origin(self) -> Self {
        Self { origin: new_origin(), ..self }
    }

    /// Returns a number that identifies the target. [`new`](Self::new) gives each endpoint another
    /// origin, and clones keep it. Under the same key, an endpoint of the same origin has the same
    /// target, and one of another origin may have another.
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
