//! Strategies that compare the loads of many endpoints for each request.
//!
//! - `least_loaded`: the least loaded of all, or of a range of them.
//! - `freshest`: the least loaded of those that reported last.
//! - `recent_reports`: the log of reports that `freshest` reads.

mod freshest;
#[allow(clippy::module_inception)]
mod least_loaded;
mod recent_reports;

pub use self::{freshest::Freshest, least_loaded::LeastLoaded};
