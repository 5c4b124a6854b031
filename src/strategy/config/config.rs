use std::collections::BTreeMap;

#[allow(unused_imports, reason = "the docs link to them")]
use crate::load::{FailureAware, HangAware, Outstanding, PeakEwma, PredictedLatency};
#[allow(unused_imports, reason = "the docs link to them")]
use crate::strategy::{
    CrossZone, Dynamic, Freshest, LeastLoaded, LoadAwareZones, P2c, Panic, PanicMode, PickFirst,
    Prequal, Probed, Random, RoundRobin, Tiers, WeightedRoundRobin, ZonalShift, ZoneAware,
};

/// A strategy by name and parameters, as in a configuration file. [`build`](Self::build) turns it
/// into a [`Dynamic`].
///
/// With feature `serde` it implements `Deserialize`:
///
/// - The field `strategy` holds the name in snake case; `inner` holds the strategy that a wrapper
///   wraps.
/// - Times are in seconds.
/// - Hash keys, probes and zonal shifts are named; the program passes them to
///   [`build_with`](Self::build_with).
/// - An absent field has the default of the strategy. An unknown field is an error.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use tower_lb::strategy::{Config, Dynamic};
///
/// let config: Config = serde_json::from_str(
///     r#"{
///         "strategy": "tiers",
///         "inner": {
///             "strategy": "zone_aware",
///             "region": "eu-central-1",
///             "zone": "eu-central-1a",
///             "inner": { "strategy": "p2c", "load": { "by": "peak_ewma", "decay": 5.0 } }
///         }
///     }"#,
/// )?;
/// let strategy: Dynamic<String> = config.build()?;
/// # }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema), schemars(rename = "Strategy"))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum Config {
    /// [`RoundRobin`].
    RoundRobin {},
    /// [`Random`].
    Random {},
    /// [`P2c`].
    P2c {
        /// The load that is compared.
        #[cfg_attr(feature = "serde", serde(default))]
        load: LoadConfig,
    },
    /// [`LeastLoaded`].
    LeastLoaded {
        /// The load that is compared.
        #[cfg_attr(feature = "serde", serde(default))]
        load: LoadConfig,
        /// [`LeastLoaded::scan_up_to`].
        scan_up_to: Option<usize>,
    },
    /// [`Freshest`].
    Freshest {
        /// The load that is compared. Default: [`LoadConfig::PredictedLatency`].
        load: Option<LoadConfig>,
        /// [`Freshest::choices`].
        choices: Option<usize>,
    },
    /// [`Probed`].
    Probed {
        /// The name of the probe.
        probe: String,
        /// [`Probed::per_request`].
        per_request: Option<f64>,
        /// [`Probed::timeout`], in seconds.
        timeout: Option<f64>,
        /// The strategy that uses the reports.
        inner: Box<Self>,
    },
    /// [`Prequal`].
    Prequal {
        /// The name of the probe.
        probe: String,
        /// [`Prequal::per_request`].
        per_request: Option<f64>,
        /// [`Prequal::quantile`].
        quantile: Option<f64>,
        /// [`Prequal::timeout`], in seconds.
        timeout: Option<f64>,
    },
    /// [`PickFirst`].
    PickFirst {},
    /// [`WeightedRoundRobin`].
    WeightedRoundRobin {
        /// [`WeightedRoundRobin::blackout`], in seconds.
        blackout: Option<f64>,
        /// [`WeightedRoundRobin::expiry`], in seconds.
        expiry: Option<f64>,
        /// [`WeightedRoundRobin::period`], in seconds.
        period: Option<f64>,
        /// [`WeightedRoundRobin::error_penalty`].
        error_penalty: Option<f64>,
        /// [`WeightedRoundRobin::metrics`].
        #[cfg_attr(feature = "serde", serde(default))]
        metrics: Vec<String>,
    },
    /// [`Rendezvous`](crate::strategy::Rendezvous).
    Rendezvous {
        /// The name of the key.
        key: String,
        /// How requests of hot keys are spread.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
    },
    /// [`Maglev`](crate::strategy::Maglev).
    Maglev {
        /// The name of the key.
        key: String,
        /// How requests of hot keys are spread.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
        /// [`Maglev::table_size`](crate::strategy::Maglev::table_size).
        table_size: Option<u32>,
    },
    /// [`Ring`](crate::strategy::Ring).
    Ring {
        /// The name of the key.
        key: String,
        /// How requests of hot keys are spread.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
        /// [`Ring::points`](crate::strategy::Ring::points).
        points: Option<u32>,
        /// [`Ring::unit`](crate::strategy::Ring::unit).
        unit: Option<u32>,
    },
    /// [`Subset`](crate::strategy::Subset).
    Subset {
        /// The labels of each subset, in order of preference.
        subsets: Vec<BTreeMap<String, String>>,
        /// Whether all endpoints are the last fallback:
        /// [`Subset::or_any`](crate::strategy::Subset::or_any).
        #[cfg_attr(feature = "serde", serde(default))]
        or_any: bool,
        /// The strategy that selects within a subset.
        inner: Box<Self>,
    },
    /// [`Split`](crate::strategy::Split), with fixed shares.
    Split {
        /// The groups that share the traffic.
        groups: Vec<GroupConfig>,
        /// The name of the key that keeps requests in a group. Default: requests take turns.
        key: Option<String>,
    },
    /// [`Tiers`].
    Tiers {
        /// [`Tiers::overprovisioning`].
        overprovisioning: Option<f64>,
        /// [`Tiers::all_or_nothing`].
        #[cfg_attr(feature = "serde", serde(default))]
        all_or_nothing: bool,
        /// [`Tiers::backup_from`].
        backup_from: Option<u32>,
        /// [`Tiers::by_weight`].
        #[cfg_attr(feature = "serde", serde(default))]
        by_weight: bool,
        /// The strategy that selects within a tier.
        inner: Box<Self>,
    },
    /// [`Panic`].
    Panic {
        /// [`Panic::below_share`].
        threshold: Option<f64>,
        /// [`Panic::below_count`].
        count: Option<usize>,
        /// [`Panic::mode`].
        #[cfg_attr(feature = "serde", serde(default))]
        mode: PanicMode,
        /// The strategy that selects among the admitted endpoints.
        inner: Box<Self>,
    },
    /// [`ZoneAware`].
    ZoneAware {
        /// The region of this client.
        region: String,
        /// The zone of this client.
        zone: String,
        /// [`ZoneAware::min_endpoints`].
        min_endpoints: Option<usize>,
        /// [`ZoneAware::cross_zone`].
        #[cfg_attr(feature = "serde", serde(default))]
        cross_zone: CrossZone,
        /// The strategy that selects within a zone.
        inner: Box<Self>,
    },
    /// [`LoadAwareZones`].
    LoadAwareZones {
        /// The region of this client.
        region: String,
        /// The zone of this client.
        zone: String,
        /// [`LoadAwareZones::tolerance`].
        tolerance: Option<f64>,
        /// [`LoadAwareZones::remote_share`].
        remote_share: Option<f64>,
        /// [`LoadAwareZones::metrics`].
        #[cfg_attr(feature = "serde", serde(default))]
        metrics: Vec<String>,
        /// The strategy that selects within a zone.
        inner: Box<Self>,
    },
    /// [`ZonalShift`].
    ZonalShift {
        /// The name of the handle that excludes zones, as in
        /// [`Named::zonal_shift`](super::Named::zonal_shift).
        shift: String,
        /// The strategy that selects outside of the excluded zones.
        inner: Box<Self>,
    },
}

/// A group of a [`Config::Split`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
pub struct GroupConfig {
    /// The name of the group.
    pub name: String,
    /// The share of the group, relative to the shares of the others.
    pub share: u32,
    /// The labels that all endpoints of the group have.
    pub labels: BTreeMap<String, String>,
    /// The strategy that selects within the group.
    pub inner: Config,
}

/// How requests of a key are spread if one endpoint cannot take them all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SpreadConfig {
    /// They are not spread. The default.
    #[default]
    None,
    /// [`BoundedLoad`](crate::strategy::BoundedLoad) with this factor.
    Bounded(f64),
    /// [`TopK`](crate::strategy::TopK) with this number of endpoints, 1 to 8, compared by
    /// [`Outstanding`] in a [`FailureAware`].
    Top(usize),
}

/// A load by name. Each is wrapped in a [`FailureAware`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "alb", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum LoadConfig {
    /// [`Outstanding`].
    Outstanding {},
    /// [`PeakEwma`].
    PeakEwma {
        /// [`PeakEwma::with_decay`], in seconds.
        decay: Option<f64>,
        /// Whether the load is wrapped in a [`HangAware`], which counts the age of requests in
        /// flight.
        #[cfg_attr(feature = "serde", serde(default))]
        hang_aware: bool,
    },
    /// [`PredictedLatency`].
    PredictedLatency {
        /// [`PeakEwma::with_decay`] of the load that is used without reports, in seconds.
        decay: Option<f64>,
    },
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self::Outstanding {}
    }
}
