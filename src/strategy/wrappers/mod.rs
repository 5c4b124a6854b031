//! Wrappers: strategies that narrow, widen or divide the candidates of an inner strategy.
//!
//! `panic`, `subset`, `subset_by`, `split`, `tiers` and `classified` each hold a wrapper; `shares`
//! holds the handle of a split. `built_parts` merges what is built over parts of the candidates,
//! and `part_strategies` keeps an inner strategy for each part.

pub(super) mod built_parts;
mod classified;
mod panic;
pub(super) mod part_strategies;
mod shares;
mod split;
mod subset;
mod subset_by;
mod tiers;

pub use self::{
    built_parts::{BuiltParts, PartPicker},
    classified::Classified,
    panic::{Panic, PanicMode},
    shares::Shares,
    split::{ByTurns, Split, SplitBuilder},
    subset::Subset,
    subset_by::SubsetBy,
    tiers::Tiers,
};
