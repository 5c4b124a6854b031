//! What the benchmarks share: the balancers that are compared, and how they are driven.

pub mod addresses;
pub mod contender;
pub mod noop;
pub mod ours;
pub mod pingora;
pub mod poise;
pub mod request;
pub mod tower_balance;
pub mod tower_buffer;
pub mod volo;
