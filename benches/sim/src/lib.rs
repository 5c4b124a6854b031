//! A discrete-event simulator of clients that balance over servers, for tail latencies under many
//! conditions in little time.
//!
//! It runs the strategies of `tower_lb` themselves: each client has a strategy and endpoints of its own,
//! picks as the balancer does, and is told outcomes and load reports. Beside them run [models of
//! others](peers) and [oracles](oracles) that see all servers as they are at the moment.
//!
//! Time is virtual (tokio's paused clock), arrivals are open-loop, and each concern (arrivals, work,
//! picks, environment, network) has a seeded generator of its own: all strategies see the same arrivals
//! and the same work, and a rerun gives the same figures to the last bit.

pub mod balance;
pub mod catalog;
pub mod clock;
pub mod engine;
/// What servers measure of themselves: the very code of `tower_lb::http::ReportLoad`.
#[path = "../../../src/http/load/latency_by_load.rs"]
mod latency_by_load;
pub mod measure;
pub mod oracles;
pub mod ours;
pub mod peers;
pub mod plot;
pub mod retry;
pub mod scenario;
pub mod server;
pub mod table;
pub mod work;
