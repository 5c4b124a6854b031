mod histogram;
pub(super) mod interval_stats;
pub(super) mod monitor;
pub(super) mod severity;
