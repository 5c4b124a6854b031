//! Load of endpoints: the figures that load-aware strategies compare.
//!
//! A [`Load`] reads the figures of an endpoint through a [`Gauge`] and returns a [`Score`]; its
//! [`Meter`](crate::outcome::Meter) learns from finished attempts.
//!
//! | load | measures |
//! |---|---|
//! | [`Outstanding`] | requests in flight |
//! | [`PeakEwma`] | latency, times the requests in flight |
//! | [`PredictedLatency`] | the latency predicted from the requests in flight that servers report |
//! | [`FailureAware`] | another load, raised by recent failures |
//! | [`HangAware`] | another load, raised while requests wait |
//! | [`PerClass`] | another load, separate for each class of requests |
//!
//! The modules `decayed` (values that decay with time, in one atomic word) and `fleet` (statistics
//! over all endpoints, for [`PredictedLatency`]) hold what the loads share.
//!
//! ```
//! use std::time::Duration;
//! use tower_lb::{load::{FailureAware, PeakEwma}, strategy::P2c};
//!
//! let strategy = P2c::new(FailureAware::new(PeakEwma::new().with_decay(Duration::from_secs(5))));
//! ```

mod decayed;
mod failure_aware;
mod fleet;
mod gauge;
mod hang_aware;
#[allow(clippy::module_inception)]
mod load;
mod now;
mod outstanding;
mod peak_ewma;
mod per_class;
mod predicted_latency;

pub(crate) use self::decayed::Decayed;
pub use self::{
    failure_aware::FailureAware,
    gauge::Gauge,
    hang_aware::HangAware,
    load::{Load, Score},
    now::Now,
    outstanding::Outstanding,
    peak_ewma::PeakEwma,
    per_class::PerClass,
    predicted_latency::PredictedLatency,
};
