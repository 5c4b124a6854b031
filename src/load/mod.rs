//! How loaded an endpoint is: the figures that load-aware strategies compare.
//!
//! A [`Load`] reads an endpoint's [`Vitals`](crate::endpoint::Vitals) and gives a [`Score`]; its
//! [`Meter`](crate::outcome::Meter) learns from finished attempts. [`Outstanding`] counts requests
//! in flight, [`PeakEwma`] weighs them with the latency seen, and [`FailureAware`] makes either of
//! them shun an endpoint whose requests fail, however fast they do.
//!
//! ```
//! use std::time::Duration;
//! use tower_lb::{load::{FailureAware, PeakEwma}, strategy::P2c};
//!
//! let strategy = P2c::new(FailureAware::new(PeakEwma::new().with_decay(Duration::from_secs(5))));
//! ```

mod decayed;
mod failure_aware;
#[allow(clippy::module_inception)]
mod load;
mod now;
mod outstanding;
mod peak_ewma;

#[cfg(feature = "lambda")]
pub(crate) use self::decayed::Decayed;
pub use self::{
    failure_aware::FailureAware,
    load::{Load, Score},
    now::Now,
    outstanding::Outstanding,
    peak_ewma::PeakEwma,
};
