//! How requests end, and what that says about their endpoints.
//!
//! An [`Attempt`] is one request at one endpoint. It counts the request as in flight from the pick
//! to the end of the response, and records its [`Outcome`] exactly once, also when the future or
//! the body is dropped. A [`Classify`] decides which outcome a response is. A [`Track`] decides
//! when the attempt is over: at the response, or at the end of its body. All attempts of one
//! request share its [`Attempts`].
//!
//! A [`Meter`] learns from attempts: from their ends and, if it needs them, from their starts,
//! latencies and the endpoint's own [`LoadReport`]s.
//!
//! ```
//! use std::{error::Error, time::Duration};
//! use tower_lb::outcome::{Classify, Outcome};
//!
//! /// A protocol whose responses are a number: 0 is a success, 1 means "too busy".
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
mod caller_error;
mod carry;
mod classify;
mod elapsed;
mod fault;
mod load_report;
mod meter;
#[allow(clippy::module_inception)]
mod outcome;
mod pick_metadata;
mod track;

#[cfg(any(feature = "http", feature = "lambda"))]
pub(crate) use self::classify::is_timeout;
pub use self::{
    attempt::Attempt,
    attempts::Attempts,
    caller_error::CallerError,
    carry::{Carry, Follow, Following},
    classify::{Classify, ResultOnly},
    elapsed::{Bound, Elapsed},
    load_report::LoadReport,
    meter::{Meter, Sample, Start},
    outcome::Outcome,
    track::{OnResponse, Track},
};
pub(crate) use self::{fault::Fault, pick_metadata::PickMetadata};
