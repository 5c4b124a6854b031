//! Anomaly detection: finds endpoints that fail more often than their peers, and lowers their share
//! of the traffic.
//!
//! `anomaly_detected` is the stage and `verdict` decides about one endpoint. `fisher` is the
//! statistical test, `window` the counts that it reads. [`AnomalyDetection`] has the settings,
//! `anomaly_status` the figures.
//!
//! Source: the idea is that of the automatic target weights of AWS's Application Load Balancer,
//! whose algorithm is not published. The test is Fisher's exact test.

mod anomaly_detected;
mod anomaly_detection;
mod anomaly_status;
mod fisher;
mod verdict;
mod window;

pub use self::{
    anomaly_detected::AnomalyDetected,
    anomaly_detection::AnomalyDetection,
    anomaly_status::{
        AnomalyCounts, AnomalyFigures, AnomalyResult, AnomalyStatus, EndpointAnomaly,
    },
};
