//! Builds a strategy that compares loads, for any [`LoadConfig`](super::LoadConfig).

use super::build::seconds;
use crate::{ConfigError, load::PeakEwma};

/// Builds a strategy over the load that a [`LoadConfig`](super::LoadConfig) describes. A macro,
/// because each load is another type.
macro_rules! over_load {
    ($config:expr, |$load:ident| $strategy:expr) => {{
        use $crate::load::{FailureAware, HangAware, Outstanding, PredictedLatency};
        match $config {
            LoadConfig::Outstanding {} => {
                let $load = FailureAware::new(Outstanding);
                Dynamic::new($strategy)
            }
            LoadConfig::PeakEwma { decay, hang_aware: false } => {
                let $load = FailureAware::new(peak_ewma(*decay)?);
                Dynamic::new($strategy)
            }
            LoadConfig::PeakEwma { decay, hang_aware: true } => {
                let $load = FailureAware::new(HangAware::new(peak_ewma(*decay)?));
                Dynamic::new($strategy)
            }
            LoadConfig::PredictedLatency { decay } => {
                let $load = FailureAware::new(PredictedLatency::with_fallback(peak_ewma(*decay)?));
                Dynamic::new($strategy)
            }
        }
    }};
}

pub(super) use over_load;

pub(super) fn peak_ewma(decay: Option<f64>) -> Result<PeakEwma, ConfigError> {
    let decay = seconds("load.decay", decay)?;
    Ok(decay.map_or(PeakEwma::new(), |decay| PeakEwma::new().with_decay(decay)))
}
