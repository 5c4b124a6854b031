pub(super) mod freshest;
#[allow(clippy::module_inception)]
mod least_loaded;
mod recent_reports;

pub use self::{
    freshest::{Freshest, FreshestPicker},
    least_loaded::{LeastLoaded, LeastLoadedPicker},
};
