pub(super) mod members;
#[allow(clippy::module_inception)]
pub(super) mod stage;
pub(super) mod timer;
pub(super) mod weight_share;
