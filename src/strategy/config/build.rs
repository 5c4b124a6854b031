use std::time::Duration;

use super::{
    Config, LoadConfig, Named, SpreadConfig,
    loads::{over_load, peak_ewma},
};
use crate::{
    ConfigError,
    endpoint::Locality,
    load::{FailureAware, Outstanding},
    strategy::{
        BoundedLoad, Candidate, Dynamic, Freshest, LeastLoaded, LoadAwareZones, Maglev, P2c, Panic,
        Pick, PickFirst, Prequal, Probed, Random, Rank, Rendezvous, Ring, RoundRobin, Split,
        Strategy, Subset, Tiers, TopK, WeightedRoundRobin, ZonalShift, ZoneAware,
    },
};

impl Config {
    /// Builds a strategy that needs no key, probe or zonal shift of the program.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] about the invalid field. The field of an inner strategy is a path, such as
    /// `inner.threshold`.
    pub fn build<Req: 'static>(&self) -> Result<Dynamic<Req>, ConfigError> {
        self.build_with(&Named::new())
    }

    /// Builds the strategy with the keys, probes and zonal shifts in `named`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] about the invalid field. The field of an inner strategy is a path, such as
    /// `inner.threshold`.
    pub fn build_with<Req: 'static>(
        &self,
        named: &Named<Req>,
    ) -> Result<Dynamic<Req>, ConfigError> {
        let build_inner =
            |inner: &Self| inner.build_with(named).map_err(|error| error.within("inner"));
        Ok(match self {
            Self::RoundRobin {} => Dynamic::new(RoundRobin::new()),
            Self::Random {} => Dynamic::new(Random),
            Self::PickFirst {} => Dynamic::new(PickFirst::new()),
            Self::P2c { load } => over_load!(load, |load| P2c::new(load)),
            Self::LeastLoaded { load, scan_up_to } => {
                over_load!(load, |load| {
                    LeastLoaded::new(load).try_set(*scan_up_to, LeastLoaded::scan_up_to)?
                })
            }
            Self::Freshest { load, choices } => {
                let load = load.as_ref().unwrap_or(&LoadConfig::PredictedLatency { decay: None });
                over_load!(load, |load| Freshest::new(load).try_set(*choices, Freshest::choices)?)
            }
            Self::Probed { probe, per_request, timeout, inner } => Dynamic::new(
                Probed::new(named.get_probe(probe)?, build_inner(inner)?)
                    .try_set(*per_request, Probed::per_request)?
                    .set(seconds("timeout", *timeout)?, Probed::timeout),
            ),
            Self::Prequal { probe, per_request, quantile, timeout } => Dynamic::new(
                Prequal::new(named.get_probe(probe)?)
                    .try_set(*per_request, Prequal::per_request)?
                    .try_set(*quantile, Prequal::quantile)?
                    .set(seconds("timeout", *timeout)?, Prequal::timeout),
            ),
            Self::WeightedRoundRobin { blackout, expiry, period, error_penalty, metrics } => {
                Dynamic::new(
                    WeightedRoundRobin::new()
                        .metrics(metrics.iter().cloned())
                        .set(seconds("blackout", *blackout)?, WeightedRoundRobin::blackout)
                        .try_set(seconds("expiry", *expiry)?, WeightedRoundRobin::expiry)?
                        .try_set(seconds("period", *period)?, WeightedRoundRobin::period)?
                        .try_set(*error_penalty, WeightedRoundRobin::error_penalty)?,
                )
            }
            Self::Rendezvous { key, spread } => {
                spread.over(Rendezvous::new(named.get_key(key)?))?
            }
            Self::Maglev { key, spread, table_size } => {
                let strategy = Maglev::new(named.get_key(key)?);
                spread.over(strategy.try_set(*table_size, Maglev::table_size)?)?
            }
            Self::Ring { key, spread, points, unit } => {
                let strategy = Ring::new(named.get_key(key)?);
                let strategy =
                    strategy.try_set(*points, Ring::points)?.try_set(*unit, Ring::unit)?;
                spread.over(strategy)?
            }
            Self::Subset { subsets, or_any, inner } => {
                let Some((first, others)) = subsets.split_first() else {
                    return Err(ConfigError::new("subsets", "at least one subset"));
                };
                let subset = Subset::new(build_inner(inner)?, first);
                let subset = others.iter().fold(subset, Subset::or);
                Dynamic::new(if *or_any { subset.or_any() } else { subset })
            }
            Self::Split { groups, key } => {
                let mut split = Split::builder();
                for group in groups {
                    let labels = group.labels.clone();
                    let belongs = move |candidate: &Candidate| {
                        let metadata = candidate.metadata();
                        labels.iter().all(|(name, value)| metadata.get(name) == Some(value))
                    };
                    let strategy =
                        build_inner(&group.inner).map_err(|error| error.within("groups"))?;
                    split = split.group(&*group.name, group.share, belongs, strategy);
                }
                match key {
                    Some(key) => Dynamic::new(split.sticky_by(named.get_key(key)?).build()?.0),
                    None => Dynamic::new(split.build()?.0),
                }
            }
            Self::Tiers { overprovisioning, all_or_nothing, backup_from, by_weight, inner } => {
                let tiers = Tiers::new(build_inner(inner)?)
                    .try_set(*overprovisioning, Tiers::overprovisioning)?
                    .set(*backup_from, Tiers::backup_from);
                let tiers = if *all_or_nothing { tiers.all_or_nothing() } else { tiers };
                Dynamic::new(if *by_weight { tiers.by_weight() } else { tiers })
            }
            Self::Panic { threshold, count, mode, inner } => {
                if threshold.is_some() && count.is_some() {
                    return Err(ConfigError::new("count", "no value beside a `threshold`"));
                }
                Dynamic::new(
                    Panic::new(build_inner(inner)?)
                        .mode(*mode)
                        .try_set(*threshold, Panic::below_share)?
                        .try_set(*count, Panic::below_count)?,
                )
            }
            Self::ZoneAware { region, zone, min_endpoints, cross_zone, inner } => {
                let local = Locality::new(&**region, &**zone);
                Dynamic::new(
                    ZoneAware::new(local, build_inner(inner)?)
                        .cross_zone(*cross_zone)
                        .try_set(*min_endpoints, ZoneAware::min_endpoints)?,
                )
            }
            Self::LoadAwareZones { region, zone, tolerance, remote_share, metrics, inner } => {
                let local = Locality::new(&**region, &**zone);
                Dynamic::new(
                    LoadAwareZones::new(local, build_inner(inner)?)
                        .metrics(metrics.iter().cloned())
                        .try_set(*tolerance, LoadAwareZones::tolerance)?
                        .try_set(*remote_share, LoadAwareZones::remote_share)?,
                )
            }
            Self::ZonalShift { shift, inner } => {
                let strategy = ZonalShift::new(build_inner(inner)?);
                Dynamic::new(strategy.following(named.get_shift(shift)?))
            }
        })
    }
}

impl SpreadConfig {
    fn over<St, Req>(self, strategy: St) -> Result<Dynamic<Req>, ConfigError>
    where
        St: Strategy<Picker: Rank<Req> + Pick<Req> + Send + Sync + 'static>,
        St: Clone + Send + 'static,
        Req: 'static,
    {
        // The errors name the parameters of the constructors; files have one field for each.
        let invalid = |field: &'static str| {
            move |error: ConfigError| {
                let value = error.value().unwrap_or_default();
                ConfigError::new(field, error.expected().to_owned()).with_value(value)
            }
        };
        Ok(match self {
            Self::None => Dynamic::new(strategy),
            Self::Bounded(factor) => {
                let strategy = BoundedLoad::new(strategy, factor);
                Dynamic::new(strategy.map_err(invalid("spread.bounded"))?)
            }
            Self::Top(count) => {
                let strategy = TopK::new(strategy, count, FailureAware::new(Outstanding));
                Dynamic::new(strategy.map_err(invalid("spread.top"))?)
            }
        })
    }
}

/// Calls a setter if the configuration has a value for it.
trait SetOption: Sized {
    fn set<T>(self, value: Option<T>, setter: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => setter(self, value),
            None => self,
        }
    }

    fn try_set<T, E>(
        self,
        value: Option<T>,
        setter: impl FnOnce(Self, T) -> Result<Self, E>,
    ) -> Result<Self, E> {
        match value {
            Some(value) => setter(self, value),
            None => Ok(self),
        }
    }
}

impl<S> SetOption for S {}

/// Converts seconds, as configuration files give times.
pub(super) fn seconds(
    field: &'static str,
    value: Option<f64>,
) -> Result<Option<Duration>, ConfigError> {
    let invalid =
        |value| ConfigError::new(field, "a number of seconds, at least 0").with_value(value);
    let time = |value| Duration::try_from_secs_f64(value).map_err(|_| invalid(value));
    value.map(time).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoint::Endpoint,
        outcome::LoadReport,
        strategy::{BuildContext, Candidates, ZonalShiftHandle},
    };

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
            "`inner.inner.load.decay` is -1: expected a number of seconds, at least 0"
        );
        let one = Config::LeastLoaded { load: LoadConfig::default(), scan_up_to: Some(1) };
        assert_eq!(one.build::<()>().unwrap_err().field(), "scan_up_to");
    }

    #[test]
    fn keys_come_from_the_program() {
        let maglev = |key: &str, spread| {
            let key = key.to_owned();
            Config::Maglev { key, spread, table_size: None }
        };
        let named = Named::new().key("user", |user: &u64| Some(*user));
        assert!(maglev("user", SpreadConfig::Bounded(1.25)).build_with(&named).is_ok());
        assert_eq!(
            maglev("path", SpreadConfig::None).build_with(&named).unwrap_err().field(),
            "key"
        );
        let unbounded = maglev("user", SpreadConfig::Bounded(1.0)).build_with(&named).unwrap_err();
        assert_eq!(
            unbounded.to_string(),
            "`spread.bounded` is 1: expected a finite number above 1, such as 1.25"
        );
        let none = maglev("user", SpreadConfig::Top(0)).build_with(&named).unwrap_err();
        assert_eq!(none.to_string(), "`spread.top` is 0: expected a number from 1 to 8");
        let table_size = Some(10);
        let even = Config::Maglev { key: "user".into(), spread: SpreadConfig::None, table_size };
        assert_eq!(even.build_with(&named).unwrap_err().field(), "table_size");
        let none = Config::Split { groups: Vec::new(), key: None };
        assert_eq!(none.build::<u64>().unwrap_err().field(), "groups");
    }

    #[test]
    fn probes_come_from_the_program() {
        let ask = |_: &Candidate| std::future::ready(Ok::<_, std::io::Error>(LoadReport::new()));
        let named = Named::<u64>::new().probe("load", ask);
        let probed = |probe: &str, per_request| Config::Probed {
            probe: probe.to_owned(),
            per_request,
            timeout: Some(0.2),
            inner: Box::new(Config::Freshest { load: None, choices: Some(3) }),
        };
        assert!(probed("load", Some(0.5)).build_with(&named).is_ok());
        assert_eq!(
            probed("load", Some(17.0)).build_with(&named).unwrap_err().field(),
            "per_request"
        );
        assert_eq!(
            probed("ping", None).build_with(&named).unwrap_err().to_string(),
            "`probe` is \"ping\": expected the name of a probe that the program gives"
        );
        let prequal = |quantile| Config::Prequal {
            probe: "load".to_owned(),
            per_request: None,
            quantile: Some(quantile),
            timeout: None,
        };
        assert!(prequal(0.6).build_with(&named).is_ok());
        assert_eq!(prequal(2.0).build_with(&named).unwrap_err().field(), "quantile");
    }

    #[test]
    fn zonal_shifts_come_from_the_program() {
        let shifted = |shift: &str| {
            let inner = Box::new(Config::Random {});
            Config::ZonalShift { shift: shift.to_owned(), inner }
        };
        let handle = ZonalShiftHandle::new();
        let named = Named::<()>::new().zonal_shift("zones", &handle);
        let mut strategy = shifted("zones").build_with(&named).unwrap();
        handle.shift_away("eu-central-1a");
        let endpoint = Endpoint::new(());
        let candidates = Candidates::for_strategy(&strategy, [("a", &endpoint)]);
        let built = strategy.build(&candidates, &mut BuildContext::new());
        assert_eq!(built.notices, ["zone eu-central-1a is away"]);
        assert_eq!(shifted("all").build_with(&named).unwrap_err().field(), "shift");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn invalid_files_are_rejected() {
        let read = |json: &str| serde_json::from_str::<Config>(json).map_err(|e| e.to_string());
        assert_eq!(read(r#"{"strategy": "round_robin"}"#), Ok(Config::RoundRobin {}));
        assert_eq!(
            read(r#"{"strategy": "p2c"}"#),
            Ok(Config::P2c { load: LoadConfig::Outstanding {} })
        );
        let unknown = read(r#"{"strategy": "p2c", "decay": 3}"#).unwrap_err();
        assert!(unknown.contains("unknown field `decay`"), "{unknown}");
        let unknown_strategy = read(r#"{"strategy": "best"}"#).unwrap_err();
        assert!(unknown_strategy.contains("unknown variant `best`"), "{unknown_strategy}");
        let missing = read(r#"{"strategy": "tiers"}"#).unwrap_err();
        assert!(missing.contains("missing field `inner`"), "{missing}");
        let split = read(
            r#"{"strategy": "split", "groups": [
                {"name": "stable", "share": 95, "labels": {"version": "1"},
                 "inner": {"strategy": "maglev", "key": "user", "spread": {"bounded": 1.25}}},
                {"name": "canary", "share": 5, "labels": {"version": "2"},
                 "inner": {"strategy": "least_loaded", "load": {"by": "peak_ewma", "decay": -1}}}
            ]}"#,
        );
        let named = Named::new().key("user", |user: &u64| Some(*user));
        let error = split.unwrap().build_with(&named).unwrap_err();
        assert_eq!(error.field(), "groups.inner.load.decay");
        let probed = read(
            r#"{"strategy": "probed", "probe": "load", "per_request": 0.5,
                "inner": {"strategy": "freshest"}}"#,
        );
        let inner = Box::new(Config::Freshest { load: None, choices: None });
        let (probe, per_request) = ("load".to_owned(), Some(0.5));
        assert_eq!(probed, Ok(Config::Probed { probe, per_request, timeout: None, inner }));
        let none = r#"{"strategy": "freshest", "choices": 0, "load": {"by": "predicted_latency"}}"#;
        let error = read(none).unwrap().build::<()>().unwrap_err();
        assert_eq!(error.to_string(), "`choices` is 0: expected a number from 1 to 16");
        let panic = r#"{"strategy": "panic", "threshold": 2.0, "mode": "open_to_best",
            "inner": {"strategy": "random"}}"#;
        let error = read(panic).unwrap().build::<()>().unwrap_err();
        assert_eq!(error.to_string(), "`threshold` is 2: expected a number from 0 to 1");
    }
}
