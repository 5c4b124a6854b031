//! How loaded an endpoint is: the figures that load-aware strategies compare.
//!
//! A [`Load`] reads an endpoint's figures through a [`Gauge`] and gives a [`Score`]; its
//! [`Meter`](crate::outcome::Meter) learns from finished attempts. [`Outstanding`] counts requests
//! in flight, [`PeakEwma`] weighs them with the latency seen, and [`FailureAware`] makes either of
//! them shun an endpoint whose requests fail, however fast they do. [`HangAware`] sees a hang
//! before any timeout, and [`PerClass`] keeps the figures of unlike requests apart.
//! [`PredictedLatency`] goes by what servers report of their requests in flight.
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
