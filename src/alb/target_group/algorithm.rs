use std::{fmt, sync::Arc};

use http::Request;

use super::group_health::{GroupHealthThresholds, Threshold};
use crate::{
    ConfigError,
    endpoint::Endpoint,
    strategy::{
        Dynamic, LeastLoaded, Panic, Pick, Random, RoundRobin, Strategy, SubsetBy, ZonalShift,
        ZonalShiftHandle,
    },
};

/// How a group selects a target: `load_balancing.algorithm.type`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Algorithm<B> {
    /// Each target in turn, by weight. The default.
    RoundRobin,
    /// The target with the fewest requests in flight. A target that fails fast is not taken for an
    /// idle one: unlike at the ALB, failures count as load.
    LeastOutstandingRequests,
    /// A random target, by weight.
    WeightedRandom,
    /// A random target, by weight, and targets that fail more often than others lose their share:
    /// `load_balancing.algorithm.anomaly_mitigation`. See
    /// [`AnomalyDetected`](crate::health::AnomalyDetected).
    WeightedRandomWithAnomalyMitigation,
    /// Any strategy of this crate.
    Other(Dynamic<Request<B>>),
}

/// Whether the node of a zone sends requests to targets of other zones:
/// `load_balancing.cross_zone.enabled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrossZone {
    /// It sends them to the targets of all zones alike. The default.
    #[default]
    On,
    /// It sends them to those of its own zone only. See
    /// [`TargetGroup::in_zone`](super::TargetGroup::in_zone).
    Off,
}

impl<B: 'static> Algorithm<B> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastOutstandingRequests => "least_outstanding_requests",
            Self::WeightedRandom => "weighted_random",
            Self::WeightedRandomWithAnomalyMitigation => "weighted_random with mitigation",
            Self::Other(_) => "other",
        }
    }

    /// Returns the strategy of a group, without sessions.
    pub(super) fn into_strategy(
        self,
        health: &GroupHealthThresholds,
        cross_zone: CrossZone,
        shift: &ZonalShiftHandle,
    ) -> Result<Dynamic<Request<B>>, ConfigError> {
        let open = match self {
            Self::RoundRobin => failing_open(RoundRobin::new(), health)?,
            Self::LeastOutstandingRequests => failing_open(LeastLoaded::default(), health)?,
            Self::WeightedRandom | Self::WeightedRandomWithAnomalyMitigation => {
                failing_open(Random, health)?
            }
            Self::Other(strategy) => failing_open(strategy, health)?,
        };
        Ok(match cross_zone {
            CrossZone::On => Dynamic::new(ZonalShift::new(open).following(shift)),
            CrossZone::Off => {
                let zones = SubsetBy::new(open, [ZONE], wanted::<B>).or([NO_ZONE]).or([ANY_ZONE]);
                Dynamic::new(ZonalShift::new(zones).following(shift))
            }
        })
    }
}

/// Sends requests to all targets while either threshold is breached.
fn failing_open<St, B>(
    strategy: St,
    health: &GroupHealthThresholds,
) -> Result<Dynamic<Request<B>>, ConfigError>
where
    B: 'static,
    St: Strategy<Picker: Pick<Request<B>> + Send + Sync + 'static> + Clone + Send + 'static,
{
    let Threshold { count, percentage } = health.routing;
    let by_count = |inner| Panic::new(inner).below_count(count.unwrap_or(1));
    // Once the outer rule admits all targets, all are eligible for the inner one.
    match percentage {
        None => Ok(Dynamic::new(by_count(Dynamic::new(strategy))?)),
        Some(percentage) => {
            let share = f64::from(percentage) / 100.0;
            let inner = Dynamic::new(Panic::new(strategy).below_share(share)?);
            Ok(Dynamic::new(by_count(inner)?))
        }
    }
}

/// The zone of the node that has received a request, as an extension of the request.
#[derive(Clone)]
pub(super) struct NodeZone(pub(super) Arc<str>);

/// The label of a target with the name of its zone.
const ZONE: &str = "alb-zone";
/// The label of all targets, for requests that no node has received.
const ANY_ZONE: &str = "alb-any-zone";
/// The label of targets without a zone, which serve the zones that have no targets of their own.
const NO_ZONE: &str = "alb-no-zone";
const YES: &str = "yes";

fn wanted<'a, B>(request: &'a Request<B>, label: &str) -> Option<&'a str> {
    let node = request.extensions().get::<NodeZone>();
    match (label, node) {
        (ZONE, Some(NodeZone(zone))) => Some(zone),
        (NO_ZONE, Some(_)) | (ANY_ZONE, None) => Some(YES),
        _ => None,
    }
}

/// Labels a target for the selection by zone.
pub(super) fn with_zone_labels<T>(endpoint: Endpoint<T>) -> Endpoint<T> {
    let zone = endpoint.locality().map(|locality| locality.zone().to_owned());
    let endpoint = endpoint.with_metadata(ANY_ZONE, YES);
    match zone {
        Some(zone) => endpoint.with_metadata(ZONE, zone),
        None => endpoint.with_metadata(NO_ZONE, YES),
    }
}

impl<B: 'static> fmt::Debug for Algorithm<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
