//! Who is fit to serve: adapters that watch over the endpoints of a stream.

mod detection;
mod ext;
mod failure_share;
mod histogram;
mod invalid;
mod latency_outliers;
mod members;
mod observed;
mod outlier;
mod stage;
mod stalls;
mod success_rate;
mod timer;
mod watch;

pub use self::{
    detection::OutlierDetection, ext::HealthExt, failure_share::FailureShare,
    invalid::InvalidSetting, latency_outliers::LatencyOutliers, outlier::OutlierDetected,
    stalls::Stalls, success_rate::SuccessRate,
};
