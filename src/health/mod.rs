//! Who is fit to serve: adapters that watch over the endpoints of a stream.
//!
//! | adapter | does | by |
//! |---|---|---|
//! | [`health_checked`](HealthExt::health_checked) | asks endpoints how they are | a [`Check`], again and again |
//! | [`outlier_detected`](HealthExt::outlier_detected) | ejects those that do worse than others | what requests see |
//! | [`circuit_broken`](HealthExt::circuit_broken) | leaves one alone that fails | what requests see |
//! | [`overload_backoff`](HealthExt::overload_backoff) | gives less to one that has too much to do | answers that say so |
//! | [`slow_start`](HealthExt::slow_start) | gives its share bit by bit to one that comes into service | weights |
//! | [`drained`](HealthExt::drained) | lets one that leaves finish its requests | the count of those in flight |
//!
//! All of them ride on the stream: the balancer's driver polls them, nothing is spawned. They change an
//! endpoint's health or weight and pass it on, an opinion each; the worst of them counts, and where all
//! are satisfied, discovery's own. What happens is told as `tracing` events, with the reason.
//!
//! What requests see is learned from [meters](crate::Endpoint::with_meter) on their path, which take no
//! lock; a threshold that is crossed wakes the driver at once.
//!
//! ```
//! use std::time::Duration;
//! use tower::{Service, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer,
//!     discover::{self, DiscoverExt},
//!     health::{Draining, HealthCheck, HealthExt, OutlierDetection, SlowStart},
//!     strategy::P2c,
//! };
//!
//! /// Any async function of the endpoint's service is a check.
//! async fn ping<S: Service<String>>(service: S) -> Result<(), S::Error> {
//!     service.oneshot("ping".to_owned()).await.map(drop)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"])
//!     .connect(|address| {
//!         let address = *address;
//!         service_fn(move |_: String| async move { Ok::<_, std::io::Error>(address) })
//!     })
//!     .health_checked(HealthCheck::new(ping).interval(Duration::from_secs(2)))?
//!     .outlier_detected(OutlierDetection::new())?
//!     .slow_start(SlowStart::over(Duration::from_secs(20)))?
//!     .drained(Draining::within(Duration::from_secs(60)))?;
//!
//! let balancer = Balancer::spawn(P2c::default(), endpoints);
//! // Pending until the first endpoint has passed its first check.
//! assert!(balancer.oneshot("hello".to_owned()).await?.starts_with("10.0.0."));
//! # Ok(())
//! # }
//! ```

mod check;
mod circuit_breaker;
mod draining;
mod ext;
mod invalid;
mod outlier;
mod overload_backoff;
mod passive;
mod slow_start;
mod stage;

#[cfg(feature = "tcp-check")]
pub use self::check::TcpCheck;
#[cfg(feature = "http")]
pub use self::check::{GrpcCheck, HttpCheck};
pub use self::{
    check::{Check, HealthCheck, HealthChecked, InitialState},
    circuit_breaker::{CircuitBreaker, CircuitBroken},
    draining::{DrainReport, Drained, Draining},
    ext::HealthExt,
    invalid::InvalidSetting,
    outlier::{
        FailureShare, LatencyOutliers, OutlierDetected, OutlierDetection, Stalls, SuccessRate,
    },
    overload_backoff::{OverloadBackedOff, OverloadBackoff},
    slow_start::{SlowStart, SlowStarted},
};
