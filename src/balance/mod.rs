//! The balancer, and the driver that keeps it up to date.
//!
//! [`Balancer::new`] gives two halves. The [`Driver`] is a future: it drains the stream of endpoints
//! and publishes immutable snapshots; spawn it, or poll it yourself. The [`Balancer`] is a `Service`
//! that reads the newest snapshot for each request: it is `Clone`, holds no lock and no channel, and
//! any number of clones can be used from any number of threads.
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
mod future;
mod shared;
mod snapshot;
mod status;
mod wait_timer;

pub use self::{
    balancer::Balancer,
    builder::{BuildError, Builder},
    driver::Driver,
    future::ResponseFuture,
    status::{DriverState, DriverStatus, EndpointStatus, Status},
};
