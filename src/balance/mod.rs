//! The balancer, and the driver that keeps it up to date.
//!
//! [`Balancer::new`] returns two halves. The [`Driver`] is a future that drains the stream of
//! endpoints and publishes immutable snapshots; spawn it, or poll it yourself. The [`Balancer`] is
//! a `Service` that reads the newest snapshot for each request. It is `Clone` and holds no lock and
//! no channel; any number of clones can be used from any number of threads.
//!
//! `balancer` has the fast path of a request, and `acquire` the slow path of one that finds no
//! ready endpoint at once. `endpoint_set` is the driver's list of endpoints, `snapshot` a published
//! copy of it, and `shared` the state that all clones share. [`Status`] shows it to the operator,
//! and `explain` shows why a request goes where it goes.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_lb::{Balancer, discover, strategy::RoundRobin};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let echo = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
//! let endpoints = discover::list([("a", echo.into()), ("b", echo.into())]);
//!
//! let (mut balancer, driver) = Balancer::builder()
//!     .max_outstanding(100)
//!     .fail_fast(Duration::from_secs(5))
//!     .build(RoundRobin::new(), endpoints)?;
//! tokio::spawn(driver);
//!
//! assert_eq!(balancer.ready().await?.call(7).await?, 7);
//! println!("{}", balancer.status());
//! # Ok(())
//! # }
//! ```

mod acquire;
mod balancer;
mod builder;
mod driver;
mod endpoint_set;
mod explain;
mod future;
mod history;
mod monitor;
mod shared;
mod snapshot;
mod snapshot_cache;
mod status;
mod target;
mod wait_timer;

pub use self::{
    balancer::Balancer,
    builder::Builder,
    driver::Driver,
    future::ResponseFuture,
    history::{Change, Event},
    monitor::Monitor,
    status::{DriverState, DriverStatus, EndpointStatus, Status},
};
