//! What operators see: the state of all balancers of a program, as values, metrics and a page.
//!
//! Balancers and the layers around them count what happens to them anyway. A [`Registry`] knows
//! the named components of a program, and its [`Report`] is what all of them say at one moment.
//! Nothing here runs while a request is served, and nothing is global.
//!
//! ```
//! # use tower_lb::{Balancer, Endpoint, discover, observe::Registry, strategy::P2c};
//! # use tower::service_fn;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let service = service_fn(|n: u32| async move { Ok::<_, String>(n) });
//! # let endpoints = discover::list([("a", Endpoint::new(service))]);
//! let balancer = Balancer::builder()
//!     .name("users")
//!     .measure_durations(true)
//!     .spawn(P2c::default(), endpoints)?;
//!
//! let registry = Registry::new();
//! registry.add(&balancer);
//!
//! let report = registry.report();
//! assert_eq!(report.balancers[0].status.name.as_deref(), Some("users"));
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(any(feature = "tcp", feature = "udp", feature = "geneve"))]
mod edges;
#[cfg(feature = "metrics")]
pub mod metrics;
mod observable;
mod registry;
mod report;

#[cfg(feature = "dashboard")]
pub use self::dashboard::Dashboard;
pub use self::{
    observable::{Observable, Observed},
    registry::Registry,
    report::{BalancerReport, Report},
};
