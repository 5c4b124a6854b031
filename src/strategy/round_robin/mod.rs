mod low_discrepancy;
pub(super) mod order;
#[allow(clippy::module_inception)]
mod round_robin;
mod smooth;
mod static_stride;
pub(super) mod utilization;
mod weighted_round_robin;

pub use self::{
    round_robin::{RoundRobin, RoundRobinPicker},
    weighted_round_robin::{WeightedRoundRobin, WeightedRoundRobinPicker},
};
