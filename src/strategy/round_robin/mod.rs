//! Strategies that give each endpoint its turns, in proportion to weights.
//!
//! - `round_robin`: turns by the weights from discovery.
//! - `order`: the order of those turns, either a cycle (`smooth`) or, where that would be too long,
//!   multiples of the golden ratio (`low_discrepancy`).
//! - `weighted_round_robin`: turns by what endpoints report, in the order of `static_stride`.
//! - `utilization`: the meter that keeps an endpoint's last reported utilization.

mod low_discrepancy;
pub(super) mod order;
#[allow(clippy::module_inception)]
mod round_robin;
mod smooth;
mod static_stride;
pub(super) mod utilization;
mod weighted_round_robin;

pub use self::{round_robin::RoundRobin, weighted_round_robin::WeightedRoundRobin};
