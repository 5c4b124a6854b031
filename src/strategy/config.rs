use std::time::Duration;

use super::{
    CrossZone, Dynamic, InvalidParameter, LeastLoaded, LoadAwareZones, P2c, Panic, PanicMode,
    PickFirst, Random, RoundRobin, Tiers, WeightedRoundRobin, ZoneAware,
};
use crate::{
    endpoint::Locality,
    load::{FailureAware, HangAware, Load, Outstanding, PeakEwma},
};

/// A strategy by name and parameters, as a configuration file has it. [`build`](Self::build) makes a
/// [`Dynamic`] of it.
///
/// With feature `serde` it is deserialisable: the name stands in a field `strategy`, in snake case,
/// wrappers have the strategy they wrap in a field `inner`, times are in seconds. What is left out has
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
        /// [`LeastLoaded::choices`].
        choices: Option<usize>,
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
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self::Outstanding {}
    }
}

impl Config {
    /// The strategy.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] that names the field, by its path if it is one of an inner strategy.
    pub fn build<Req: 'static>(&self) -> Result<Dynamic<Req>, InvalidParameter> {
        Ok(match self {
            Self::RoundRobin {} => Dynamic::new(RoundRobin::new()),
            Self::Random {} => Dynamic::new(Random),
            Self::PickFirst {} => Dynamic::new(PickFirst::new()),
            Self::P2c { load } => load.build(P2cOver)?,
            Self::LeastLoaded { load, scan_up_to, choices } => {
                if choices.is_some_and(|choices| choices < 2) {
                    return Err(InvalidParameter::new("choices", "at least 2"));
                }
                load.build(LeastOver { scan_up_to: *scan_up_to, choices: *choices })?
            }
            Self::WeightedRoundRobin { blackout, expiry, period, error_penalty, metrics } => {
                let mut strategy = WeightedRoundRobin::new().metrics(metrics.iter().cloned());
                if let Some(time) = seconds("blackout", *blackout)? {
                    strategy = strategy.blackout(time);
                }
                if let Some(time) = seconds("expiry", *expiry)? {
                    strategy = strategy.expiry(time)?;
                }
                if let Some(time) = seconds("period", *period)? {
                    strategy = strategy.period(time);
                }
                if let Some(penalty) = *error_penalty {
                    strategy = strategy.error_penalty(penalty)?;
                }
                Dynamic::new(strategy)
            }
            Self::Tiers { overprovisioning, all_or_nothing, backup_from, by_weight, inner } => {
                let mut strategy = Tiers::new(inside(inner)?);
                if let Some(factor) = *overprovisioning {
                    strategy = strategy.overprovisioning(factor)?;
                }
                if *all_or_nothing {
                    strategy = strategy.all_or_nothing();
                }
                if let Some(tier) = *backup_from {
                    strategy = strategy.backup_from(tier);
                }
                Dynamic::new(if *by_weight { strategy.by_weight() } else { strategy })
            }
            Self::Panic { threshold, count, mode, inner } => {
                let strategy = Panic::new(inside(inner)?).mode(*mode);
                Dynamic::new(match (*threshold, *count) {
                    (None, None) => strategy,
                    (Some(threshold), None) => strategy.below_share(threshold)?,
                    (None, Some(count)) => strategy.below_count(count)?,
                    (Some(_), Some(_)) => {
                        return Err(InvalidParameter::new("count", "left out beside a threshold"));
                    }
                })
            }
            Self::ZoneAware { region, zone, min_endpoints, cross_zone, inner } => {
                let local = Locality::new(&**region, &**zone);
                let strategy = ZoneAware::new(local, inside(inner)?).cross_zone(*cross_zone);
                Dynamic::new(match *min_endpoints {
                    Some(endpoints) => strategy.min_endpoints(endpoints)?,
                    None => strategy,
                })
            }
            Self::LoadAwareZones { region, zone, tolerance, remote_share, metrics, inner } => {
                let local = Locality::new(&**region, &**zone);
                let mut strategy = LoadAwareZones::new(local, inside(inner)?);
                strategy = strategy.metrics(metrics.iter().cloned());
                if let Some(tolerance) = *tolerance {
                    strategy = strategy.tolerance(tolerance)?;
                }
                if let Some(share) = *remote_share {
                    strategy = strategy.remote_share(share)?;
                }
                Dynamic::new(strategy)
            }
        })
    }
}

fn inside<Req: 'static>(inner: &Config) -> Result<Dynamic<Req>, InvalidParameter> {
    inner.build().map_err(|error| error.within("inner"))
}

/// A time that a file gives in seconds.
fn seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>, InvalidParameter> {
    let time = value.map(Duration::try_from_secs_f64).transpose();
    time.map_err(|_| InvalidParameter::new(name, "a number of seconds, at least 0"))
}

/// A strategy that compares loads, before it is said which.
trait Over {
    fn over<L, Req>(self, load: L) -> Dynamic<Req>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static;
}

struct P2cOver;

impl Over for P2cOver {
    fn over<L, Req>(self, load: L) -> Dynamic<Req>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        Dynamic::new(P2c::new(load))
    }
}

struct LeastOver {
    scan_up_to: Option<usize>,
    choices: Option<usize>,
}

impl Over for LeastOver {
    fn over<L, Req>(self, load: L) -> Dynamic<Req>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        let mut strategy = LeastLoaded::new(load);
        if let Some(endpoints) = self.scan_up_to {
            strategy = strategy.scan_up_to(endpoints);
        }
        if let Some(choices) = self.choices {
            strategy = strategy.choices(choices);
        }
        Dynamic::new(strategy)
    }
}

impl LoadConfig {
    fn build<Req: 'static>(&self, over: impl Over) -> Result<Dynamic<Req>, InvalidParameter> {
        Ok(match self {
            Self::Outstanding {} => over.over(FailureAware::new(Outstanding)),
            Self::PeakEwma { decay, hang_aware } => {
                let decay = seconds("load.decay", *decay)?;
                let latency =
                    decay.map_or(PeakEwma::new(), |decay| PeakEwma::new().with_decay(decay));
                if *hang_aware {
                    over.over(FailureAware::new(HangAware::new(latency)))
                } else {
                    over.over(FailureAware::new(latency))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(inner: Config) -> Config {
        Config::Tiers {
            overprovisioning: None,
            all_or_nothing: false,
            backup_from: None,
            by_weight: false,
            inner: Box::new(inner),
        }
    }

    #[test]
    fn errors_name_the_field_by_its_path() {
        let decay = Some(-1.0);
        let bad = Config::P2c { load: LoadConfig::PeakEwma { decay, hang_aware: false } };
        let error = tiers(tiers(bad)).build::<()>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "inner.inner.load.decay must be a number of seconds, at least 0"
        );
        let scan_up_to = None;
        let one = Config::LeastLoaded { load: LoadConfig::default(), scan_up_to, choices: Some(1) };
        assert_eq!(one.build::<()>().unwrap_err().name(), "choices");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn files_say_what_they_mean_or_are_refused() {
        let read = |json: &str| serde_json::from_str::<Config>(json).map_err(|e| e.to_string());
        assert_eq!(read(r#"{"strategy": "round_robin"}"#), Ok(Config::RoundRobin {}));
        assert_eq!(
            read(r#"{"strategy": "p2c"}"#),
            Ok(Config::P2c { load: LoadConfig::Outstanding {} })
        );
        let unknown = read(r#"{"strategy": "p2c", "decay": 3}"#).unwrap_err();
        assert!(unknown.contains("unknown field `decay`"), "{unknown}");
        let unheard = read(r#"{"strategy": "best"}"#).unwrap_err();
        assert!(unheard.contains("unknown variant `best`"), "{unheard}");
        let missing = read(r#"{"strategy": "tiers"}"#).unwrap_err();
        assert!(missing.contains("missing field `inner`"), "{missing}");
        let panic = r#"{"strategy": "panic", "threshold": 2.0, "mode": "open_to_best",
            "inner": {"strategy": "random"}}"#;
        let error = read(panic).unwrap().build::<()>().unwrap_err();
        assert_eq!(error.to_string(), "threshold must be a share from 0 to 1");
    }
}
