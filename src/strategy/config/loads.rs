//! Strategies that compare loads, over any load that has a name.

use super::{LoadConfig, build::seconds};
use crate::{
    ConfigError,
    load::{FailureAware, HangAware, Load, Outstanding, PeakEwma, PredictedLatency},
    strategy::{Dynamic, Freshest, InvalidParameter, LeastLoaded, P2c},
};

/// A strategy that compares loads, before it is said which.
pub(super) trait Over {
    fn over<L, Req>(self, load: L) -> Result<Dynamic<Req>, ConfigError>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static;
}

pub(super) struct P2cOver;

impl Over for P2cOver {
    fn over<L, Req>(self, load: L) -> Result<Dynamic<Req>, ConfigError>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        Ok(Dynamic::new(P2c::new(load)))
    }
}

pub(super) struct LeastOver {
    pub(super) scan_up_to: Option<usize>,
}

impl Over for LeastOver {
    fn over<L, Req>(self, load: L) -> Result<Dynamic<Req>, ConfigError>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        let strategy = LeastLoaded::new(load);
        Ok(Dynamic::new(match self.scan_up_to {
            Some(endpoints) => strategy.scan_up_to(endpoints)?,
            None => strategy,
        }))
    }
}

pub(super) struct FreshestOver {
    pub(super) choices: Option<usize>,
}

impl Over for FreshestOver {
    fn over<L, Req>(self, load: L) -> Result<Dynamic<Req>, ConfigError>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        let strategy = Freshest::new(load);
        Ok(Dynamic::new(match self.choices {
            Some(choices) => strategy.choices(choices)?,
            None => strategy,
        }))
    }
}

impl LoadConfig {
    pub(super) fn build<Req: 'static>(
        &self,
        over: impl Over,
    ) -> Result<Dynamic<Req>, InvalidParameter> {
        let built = match self {
            Self::Outstanding {} => over.over(FailureAware::new(Outstanding)),
            Self::PeakEwma { decay, hang_aware } => {
                let latency = peak_ewma(*decay)?;
                if *hang_aware {
                    over.over(FailureAware::new(HangAware::new(latency)))
                } else {
                    over.over(FailureAware::new(latency))
                }
            }
            Self::PredictedLatency { decay } => {
                over.over(FailureAware::new(PredictedLatency::or(peak_ewma(*decay)?)))
            }
        };
        Ok(built?)
    }
}

fn peak_ewma(decay: Option<f64>) -> Result<PeakEwma, InvalidParameter> {
    let decay = seconds("load.decay", decay)?;
    Ok(decay.map_or(PeakEwma::new(), |decay| PeakEwma::new().with_decay(decay)))
}
