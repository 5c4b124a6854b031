//! Builds a strategy that compares loads, for any [`LoadConfig`].

use super::{LoadConfig, build::seconds};
use crate::{
    ConfigError,
    load::{FailureAware, HangAware, Load, Outstanding, PeakEwma, PredictedLatency},
    strategy::{Dynamic, Freshest, LeastLoaded, P2c},
};

/// The settings of a strategy that compares loads, without the load.
pub(super) trait Over {
    /// Builds the strategy over `load`.
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

pub(super) struct LeastLoadedOver {
    pub(super) scan_up_to: Option<usize>,
}

impl Over for LeastLoadedOver {
    fn over<L, Req>(self, load: L) -> Result<Dynamic<Req>, ConfigError>
    where
        L: Load + Send + Sync + 'static,
        Req: 'static,
    {
        let strategy = LeastLoaded::new(load);
        Ok(Dynamic::new(match self.scan_up_to {
            Some(endpoints) => strategy.scan_up_to(endpoints),
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
            Some(choices) => strategy.choices(choices),
            None => strategy,
        }))
    }
}

impl LoadConfig {
    pub(super) fn build<Req: 'static>(
        &self,
        strategy: impl Over,
    ) -> Result<Dynamic<Req>, ConfigError> {
        match self {
            Self::Outstanding {} => strategy.over(FailureAware::new(Outstanding)),
            Self::PeakEwma { decay, hang_aware: false } => {
                strategy.over(FailureAware::new(peak_ewma(*decay)?))
            }
            Self::PeakEwma { decay, hang_aware: true } => {
                strategy.over(FailureAware::new(HangAware::new(peak_ewma(*decay)?)))
            }
            Self::PredictedLatency { decay } => {
                strategy.over(FailureAware::new(PredictedLatency::or(peak_ewma(*decay)?)))
            }
        }
    }
}

fn peak_ewma(decay: Option<f64>) -> Result<PeakEwma, ConfigError> {
    let decay = seconds("load.decay", decay)?;
    Ok(decay.map_or(PeakEwma::new(), |decay| PeakEwma::new().with_decay(decay)))
}
