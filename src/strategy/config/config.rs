use std::collections::BTreeMap;

#[allow(unused_imports, reason = "the docs link to them")]
use crate::load::{HangAware, Outstanding, PeakEwma, PredictedLatency};
#[allow(unused_imports, reason = "the docs link to them")]
use crate::strategy::{
    CrossZone, Dynamic, Freshest, LeastLoaded, LoadAwareZones, P2c, Panic, PanicMode, PickFirst,
    Prequal, Probed, Random, RoundRobin, Tiers, WeightedRoundRobin, ZonalShift, ZoneAware,
};

/// A strategy by name and parameters, as a configuration file has it. [`build`](Self::build) makes a
/// [`Dynamic`] of it.
///
/// With feature `serde` it is deserialisable: the name stands in a field `strategy`, in snake case,
/// wrappers have the strategy they wrap in a field `inner`, times are in seconds. Strategies that hash
/// name a key and those that ask name a probe, which the program gives to
/// [`build_with`](Self::build_with). What is left out has
/// the default of the strategy's own builder; a field that a strategy doesn't know is an error.
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
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
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
        /// What is compared.
        #[cfg_attr(feature = "serde", serde(default))]
        load: LoadConfig,
    },
    /// [`LeastLoaded`].
    LeastLoaded {
        /// What is compared.
        #[cfg_attr(feature = "serde", serde(default))]
        load: LoadConfig,
        /// [`LeastLoaded::scan_up_to`].
        scan_up_to: Option<usize>,
    },
    /// [`Freshest`].
    Freshest {
        /// What is compared. Default: [`LoadConfig::PredictedLatency`].
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
        /// What goes by the reports.
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
        /// What happens to hot keys.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
    },
    /// [`Maglev`](crate::strategy::Maglev).
    Maglev {
        /// The name of the key.
        key: String,
        /// What happens to hot keys.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
        /// [`Maglev::table_size`](crate::strategy::Maglev::table_size).
        table_size: Option<u32>,
    },
    /// [`Ring`](crate::strategy::Ring).
    Ring {
        /// The name of the key.
        key: String,
        /// What happens to hot keys.
        #[cfg_attr(feature = "serde", serde(default))]
        spread: SpreadConfig,
        /// [`Ring::points`](crate::strategy::Ring::points).
        points: Option<u32>,
        /// [`Ring::unit`](crate::strategy::Ring::unit).
        unit: Option<u32>,
    },
    /// [`Subset`](crate::strategy::Subset).
    Subset {
        /// Labels of the endpoints, and what else will do, in order of preference.
        subsets: Vec<BTreeMap<String, String>>,
        /// Whether any endpoint will do in the end: [`Subset::or_any`](crate::strategy::Subset::or_any).
        #[cfg_attr(feature = "serde", serde(default))]
        or_any: bool,
        /// What chooses within a subset.
        inner: Box<Self>,
    },
    /// [`Split`](crate::strategy::Split), with shares that don't change.
    Split {
        /// Who shares the traffic.
        groups: Vec<GroupConfig>,
        /// The name of the key that keeps requests in a group. Default: they go by turns.
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
        /// What chooses within a tier.
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
        /// What chooses among those let in.
        inner: Box<Self>,
    },
    /// [`ZoneAware`].
    ZoneAware {
        /// The region of this client.
        region: String,
        /// Its zone.
        zone: String,
        /// [`ZoneAware::min_endpoints`].
        min_endpoints: Option<usize>,
        /// [`ZoneAware::cross_zone`].
        #[cfg_attr(feature = "serde", serde(default))]
        cross_zone: CrossZone,
        /// What chooses within a zone.
        inner: Box<Self>,
    },
    /// [`LoadAwareZones`].
    LoadAwareZones {
        /// The region of this client.
        region: String,
        /// Its zone.
        zone: String,
        /// [`LoadAwareZones::tolerance`].
        tolerance: Option<f64>,
        /// [`LoadAwareZones::remote_share`].
        remote_share: Option<f64>,
        /// [`LoadAwareZones::metrics`].
        #[cfg_attr(feature = "serde", serde(default))]
        metrics: Vec<String>,
        /// What chooses within a zone.
        inner: Box<Self>,
    },
    /// [`ZonalShift`].
    ZonalShift {
        /// What takes zones out, named in [`Named::zonal_shift`](super::Named::zonal_shift).
        shift: String,
        /// What chooses outside of the zones that are out.
        inner: Box<Self>,
    },
}

/// A group of a [`Config::Split`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// Its share, relative to the others'.
    pub share: u32,
    /// The labels that its endpoints have.
    pub labels: BTreeMap<String, String>,
    /// What chooses within it.
    pub inner: Config,
}

/// What happens to keys that are hotter than an endpoint can take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SpreadConfig {
    /// Nothing. The default.
    #[default]
    None,
    /// [`BoundedLoad`](crate::strategy::BoundedLoad) by this factor.
    Bounded(f64),
    /// The least loaded of so many: [`TopK`](crate::strategy::TopK) by [`Outstanding`], failures charged.
    Top(usize),
}

/// A load by name.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum LoadConfig {
    /// [`Outstanding`], failures charged.
    Outstanding {},
    /// [`PeakEwma`], failures charged.
    PeakEwma {
        /// [`PeakEwma::with_decay`], in seconds.
        decay: Option<f64>,
        /// Whether the age of requests in flight counts: [`HangAware`].
        #[cfg_attr(feature = "serde", serde(default))]
        hang_aware: bool,
    },
    /// [`PredictedLatency`], failures charged.
    PredictedLatency {
        /// [`PeakEwma::with_decay`] of the load that counts while nobody reports, in seconds.
        decay: Option<f64>,
    },
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self::Outstanding {}
    }
}
