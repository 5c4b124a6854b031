mod ejected;
mod failure_share;
mod latency_outliers;
mod outlier_detected;
mod outlier_detection;
mod stalls;
mod success_rate;

pub use self::{
    failure_share::FailureShare, latency_outliers::LatencyOutliers,
    outlier_detected::OutlierDetected, outlier_detection::OutlierDetection, stalls::Stalls,
    success_rate::SuccessRate,
};
