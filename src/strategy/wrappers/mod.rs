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
    classified::{Classified, ClassifiedPicker},
    panic::{Panic, PanicMode},
    shares::{Shares, SplitError},
    split::{ByTurns, Split, SplitBuilder, SplitPicker},
    subset::{Subset, SubsetPicker},
    subset_by::{SubsetBy, SubsetByPicker},
    tiers::{Tiers, TiersPicker},
};
