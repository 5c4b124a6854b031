//! Outlier detection: ejects endpoints whose requests do worse than those of others.
//!
//! - `outlier_detection`: the settings.
//! - `success_rate`, `failure_share`, `latency_outliers`, `stalls`: the rules, with their settings.
//! - `outlier_detected`: the stream, which applies the rules, ejects endpoints and puts them on
//!   trial.
//! - `ejected`: the ejected endpoints, in the order in which they are replaced by worse ones.
//! - `ejection_status`: the figures.

mod ejected;
mod ejection_status;
mod failure_share;
mod latency_outliers;
mod outlier_detected;
mod outlier_detection;
mod stalls;
mod success_rate;

pub use self::{
    ejection_status::{
        EjectionCounts, EjectionFigures, EjectionReasons, EjectionState, EjectionStatus,
        EndpointEjection,
    },
    failure_share::FailureShare,
    latency_outliers::LatencyOutliers,
    outlier_detected::OutlierDetected,
    outlier_detection::OutlierDetection,
    stalls::Stalls,
    success_rate::SuccessRate,
};
