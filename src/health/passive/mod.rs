mod histogram;
pub(super) mod observed;
pub(super) mod severity;
pub(super) mod watch;
