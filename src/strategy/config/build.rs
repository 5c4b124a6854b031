use std::time::Duration;

use super::{
    Config, LoadConfig, Named, SpreadConfig,
    loads::{FreshestOver, LeastOver, P2cOver},
};
use crate::{
    endpoint::Locality,
    load::{FailureAware, Outstanding},
    strategy::{
        BoundedLoad, Candidate, Dynamic, InvalidParameter, LoadAwareZones, Maglev, Panic, Pick,
        PickFirst, Prequal, Probed, Random, Rank, Rendezvous, Ring, RoundRobin, Split, Strategy,
        Subset, Tiers, TopK, WeightedRoundRobin, ZonalShift, ZoneAware, hash::top_k::MAX_K,
    },
};

impl Config {
    /// The strategy, if it hashes nothing and asks nobody.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] that names the field, by its path if it is one of an inner strategy.
    pub fn build<Req: 'static>(&self) -> Result<Dynamic<Req>, InvalidParameter> {
        self.build_with(&Named::new())
    }

    /// The strategy, with the keys and probes that it may name.
    ///
    /// # Errors
    ///
    /// [`InvalidParameter`] that names the field, by its path if it is one of an inner strategy.
    pub fn build_with<Req: 'static>(
        &self,
        named: &Named<Req>,
    ) -> Result<Dynamic<Req>, InvalidParameter> {
        let inside = |inner: &Self| inner.build_with(named).map_err(|error| error.within("inner"));
        Ok(match self {
            Self::RoundRobin {} => Dynamic::new(RoundRobin::new()),
            Self::Random {} => Dynamic::new(Random),
            Self::PickFirst {} => Dynamic::new(PickFirst::new()),
            Self::P2c { load } => load.build(P2cOver)?,
            Self::LeastLoaded { load, scan_up_to } => {
                load.build(LeastOver { scan_up_to: *scan_up_to })?
            }
            Self::Freshest { load, choices } => {
                let over = FreshestOver { choices: *choices };
                load.as_ref()
                    .unwrap_or(&LoadConfig::PredictedLatency { decay: None })
                    .build(over)?
            }
            Self::Probed { probe, per_request, timeout, inner } => {
                let mut strategy = Probed::new(named.get_probe(probe)?, inside(inner)?);
                if let Some(probes) = *per_request {
                    strategy = strategy.per_request(probes)?;
                }
                if let Some(time) = seconds("timeout", *timeout)? {
                    strategy = strategy.timeout(time);
                }
                Dynamic::new(strategy)
            }
            Self::Prequal { probe, per_request, quantile, timeout } => {
                let mut strategy = Prequal::new(named.get_probe(probe)?);
                if let Some(probes) = *per_request {
                    strategy = strategy.per_request(probes)?;
                }
                if let Some(quantile) = *quantile {
                    strategy = strategy.quantile(quantile)?;
                }
                if let Some(time) = seconds("timeout", *timeout)? {
                    strategy = strategy.timeout(time);
                }
                Dynamic::new(strategy)
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
                    strategy = strategy.period(time)?;
                }
                if let Some(penalty) = *error_penalty {
                    strategy = strategy.error_penalty(penalty)?;
                }
                Dynamic::new(strategy)
            }
            Self::Rendezvous { key, spread } => {
                spread.over(Rendezvous::new(named.get_key(key)?))?
            }
            Self::Maglev { key, spread, table_size } => {
                let strategy = Maglev::new(named.get_key(key)?);
                let invalid = |_| InvalidParameter::new("table_size", "a prime");
                match *table_size {
                    Some(size) => spread.over(strategy.table_size(size).map_err(invalid)?)?,
                    None => spread.over(strategy)?,
                }
            }
            Self::Ring { key, spread, points, unit } => {
                let mut strategy = Ring::new(named.get_key(key)?);
                if let Some(points) = *points {
                    strategy = strategy.points(points)?;
                }
                if let Some(unit) = *unit {
                    strategy = strategy.unit(unit)?;
                }
                spread.over(strategy)?
            }
            Self::Subset { subsets, or_any, inner } => {
                let Some((first, others)) = subsets.split_first() else {
                    return Err(InvalidParameter::new("subsets", "at least one"));
                };
                let mut strategy = Subset::new(inside(inner)?, first);
                for labels in others {
                    strategy = strategy.or(labels);
                }
                Dynamic::new(if *or_any { strategy.or_any() } else { strategy })
            }
            Self::Split { groups, key } => {
                let mut split = Split::builder();
                for group in groups {
                    let labels = group.labels.clone();
                    let belongs = move |candidate: &Candidate| {
                        let metadata = candidate.metadata();
                        labels.iter().all(|(name, value)| metadata.get(name) == Some(value))
                    };
                    let strategy = inside(&group.inner).map_err(|error| error.within("groups"))?;
                    split = split.group(&*group.name, group.share, belongs, strategy);
                }
                let expected = "at least one, of different names, with a share above 0";
                let invalid = |_| InvalidParameter::new("groups", expected);
                match key {
                    Some(key) => Dynamic::new(
                        split.sticky_by(named.get_key(key)?).build().map_err(invalid)?.0,
                    ),
                    None => Dynamic::new(split.build().map_err(invalid)?.0),
                }
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
            Self::ZonalShift { shift, inner } => {
                let strategy = ZonalShift::new(inside(inner)?);
                Dynamic::new(strategy.following(named.get_shift(shift)?))
            }
        })
    }
}

impl SpreadConfig {
    fn over<St, Req>(self, strategy: St) -> Result<Dynamic<Req>, InvalidParameter>
    where
        St: Strategy<Picker: Rank<Req> + Pick<Req> + Send + Sync + 'static>,
        St: Clone + Send + 'static,
        Req: 'static,
    {
        Ok(match self {
            Self::None => Dynamic::new(strategy),
            Self::Bounded(factor) => {
                let invalid = |_| InvalidParameter::new("spread.bounded", "a number above 1");
                Dynamic::new(BoundedLoad::new(strategy, factor).map_err(invalid)?)
            }
            Self::Top(count) if !(1..=MAX_K).contains(&count) => {
                return Err(InvalidParameter::new("spread.top", "1 to 8"));
            }
            Self::Top(count) => {
                let load = FailureAware::new(Outstanding);
                Dynamic::new(TopK::new(strategy, count, load)?)
            }
        })
    }
}

/// A time that a file gives in seconds.
pub(super) fn seconds(
    name: &str,
    value: Option<f64>,
) -> Result<Option<Duration>, InvalidParameter> {
    let time = value.map(Duration::try_from_secs_f64).transpose();
    time.map_err(|_| InvalidParameter::new(name, "a number of seconds, at least 0"))
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
            "inner.inner.load.decay must be a number of seconds, at least 0"
        );
        let one = Config::LeastLoaded { load: LoadConfig::default(), scan_up_to: Some(1) };
        assert_eq!(one.build::<()>().unwrap_err().name(), "scan_up_to");
    }

    #[test]
    fn keys_are_the_programs() {
        let maglev = |key: &str, spread| {
            let key = key.to_owned();
            Config::Maglev { key, spread, table_size: None }
        };
        let named = Named::new().key("user", |user: &u64| Some(*user));
        assert!(maglev("user", SpreadConfig::Bounded(1.25)).build_with(&named).is_ok());
        assert_eq!(
            maglev("path", SpreadConfig::None).build_with(&named).unwrap_err().name(),
            "key"
        );
        let unbounded = maglev("user", SpreadConfig::Bounded(1.0)).build_with(&named).unwrap_err();
        assert_eq!(unbounded.to_string(), "spread.bounded must be a number above 1");
        let none = maglev("user", SpreadConfig::Top(0)).build_with(&named).unwrap_err();
        assert_eq!(none.to_string(), "spread.top must be 1 to 8");
        let table_size = Some(10);
        let even = Config::Maglev { key: "user".into(), spread: SpreadConfig::None, table_size };
        assert_eq!(even.build_with(&named).unwrap_err().to_string(), "table_size must be a prime");
        let none = Config::Split { groups: Vec::new(), key: None };
        assert_eq!(none.build::<u64>().unwrap_err().name(), "groups");
    }

    #[test]
    fn probes_are_the_programs() {
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
            probed("load", Some(17.0)).build_with(&named).unwrap_err().name(),
            "per_request"
        );
        assert_eq!(
            probed("ping", None).build_with(&named).unwrap_err().to_string(),
            "probe must be the name of a probe that the program gives"
        );
        let prequal = |quantile| Config::Prequal {
            probe: "load".to_owned(),
            per_request: None,
            quantile: Some(quantile),
            timeout: None,
        };
        assert!(prequal(0.6).build_with(&named).is_ok());
        assert_eq!(prequal(2.0).build_with(&named).unwrap_err().name(), "quantile");
    }

    #[test]
    fn zonal_shifts_are_the_programs() {
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
        assert_eq!(shifted("all").build_with(&named).unwrap_err().name(), "shift");
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
        assert_eq!(error.name(), "groups.inner.load.decay");
        let probed = read(
            r#"{"strategy": "probed", "probe": "load", "per_request": 0.5,
                "inner": {"strategy": "freshest"}}"#,
        );
        let inner = Box::new(Config::Freshest { load: None, choices: None });
        let (probe, per_request) = ("load".to_owned(), Some(0.5));
        assert_eq!(probed, Ok(Config::Probed { probe, per_request, timeout: None, inner }));
        let none = r#"{"strategy": "freshest", "choices": 0, "load": {"by": "predicted_latency"}}"#;
        let error = read(none).unwrap().build::<()>().unwrap_err();
        assert_eq!(error.to_string(), "choices must be a number from 1 to 16");
        let panic = r#"{"strategy": "panic", "threshold": 2.0, "mode": "open_to_best",
            "inner": {"strategy": "random"}}"#;
        let error = read(panic).unwrap().build::<()>().unwrap_err();
        assert_eq!(error.to_string(), "threshold must be a share from 0 to 1");
    }
}
