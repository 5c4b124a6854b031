//! A discrete-event simulator of clients that balance requests over servers. It measures tail
//! latencies under many conditions in a short time.
//!
//! The simulator runs the real strategies of `tower_lb`. Each client has its own strategy and
//! endpoints, picks like the balancer, and receives outcomes and load reports. For comparison, the
//! simulator also runs [models of other balancers](peers), and [oracles](oracles) that see the
//! present state of all servers.
//!
//! Time is virtual (tokio's paused clock), and arrivals are open-loop. Arrivals, work, picks,
//! environment and network each have their own seeded generator. All strategies therefore see the
//! same arrivals and the same work, and a rerun gives identical figures.

pub mod balance;
pub mod catalog;
pub mod clock;
pub mod engine;
/// Latencies that servers measure: the same code that `tower_lb::http::ReportLoad` uses.
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
