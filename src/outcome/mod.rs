//! What a finished request says about its endpoint, and the guard that writes it down.
//!
//! Each attempt at an endpoint is held by an [`Attempt`]: it counts the request in flight from the
//! pick to the end of the response, and records its [`Outcome`] exactly once, also when the future
//! or the body is dropped. What outcome a response stands for is decided by a [`Classify`]; when the
//! attempt is over (at the response, or at the end of its body) by a [`Track`]. What all attempts of
//! one request have in common is in its [`Attempts`].
//!
//! What learns from attempts is a [`Meter`]: it is told of ends, and if it wants of starts, latencies,
//! and what the endpoint says of its own load, a [`LoadReport`].
//!
//! ```
//! use std::{error::Error, time::Duration};
//! use tower_lb::outcome::{Classify, Outcome};
//!
//! /// A protocol whose responses carry a number: 0 is fine, 1 means "too busy".
//! #[derive(Clone)]
//! struct ByNumber;
//!
//! impl Classify<u32> for ByNumber {
//!     fn classify(&self, result: Result<&u32, &(dyn Error + 'static)>) -> Outcome {
//!         match result {
//!             Ok(0) => Outcome::Success,
//!             Ok(1) => Outcome::Overload { retry_after: Some(Duration::from_secs(1)) },
//!             Ok(_) => Outcome::ApplicationError,
//!             Err(error) => Outcome::of_error(error),
//!         }
//!     }
//! }
//!
//! assert!(ByNumber.classify(Ok(&7)).is_failure());
//! ```

mod attempt;
mod attempts;
mod carry;
mod classify;
mod elapsed;
mod load_report;
mod meter;
#[allow(clippy::module_inception)]
mod outcome;
mod pick_metadata;
mod track;

pub(crate) use self::pick_metadata::PickMetadata;
pub use self::{
    attempt::Attempt,
    attempts::Attempts,
    carry::{Carry, Follow, Following},
    classify::{Classify, ResultOnly},
    elapsed::{Bound, Elapsed},
    load_report::LoadReport,
    meter::{Meter, Sample, Start},
    outcome::Outcome,
    track::{OnResponse, Track},
};
