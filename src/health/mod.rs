//! Health of endpoints: adapters that watch the endpoints of a discovery stream.
//!
//! | adapter | does | by |
//! |---|---|---|
//! | [`health_checked`] | checks each endpoint periodically | a [`Check`] |
//! | [`outlier_detected`] | ejects endpoints that do worse than others | outcomes of requests |
//! | [`circuit_broken`] | stops requests to an endpoint that fails | outcomes of requests |
//! | [`anomaly_detected`] | lowers the weight of endpoints that fail more often than others | outcomes of requests |
//! | [`overload_backoff`] | lowers the weight of an overloaded endpoint | overload responses |
//! | [`slow_start`] | raises the weight of a new endpoint step by step | weights |
//! | [`permit_limited`] | limits requests in flight as the endpoint permits | load reports |
//! | [`drained`] | lets a removed endpoint finish its requests | the number in flight |
//!
//! [`health_checked`]: HealthExt::health_checked
//! [`outlier_detected`]: HealthExt::outlier_detected
//! [`circuit_broken`]: HealthExt::circuit_broken
//! [`anomaly_detected`]: HealthExt::anomaly_detected
//! [`overload_backoff`]: HealthExt::overload_backoff
//! [`slow_start`]: HealthExt::slow_start
//! [`permit_limited`]: HealthExt::permit_limited
//! [`drained`]: HealthExt::drained
//!
//! The adapters are part of the stream: the balancer's driver polls them, and no task is spawned.
//! Each adapter changes the health or the weight of an endpoint and passes the endpoint on. The
//! worst opinion counts; if no adapter objects, discovery's own health counts.
//!
//! Each change of an adapter's state is logged with its cause at level `DEBUG`; the balancer logs
//! the change of health that follows from it at `INFO`. [`Figures`] report what an adapter has done
//! and what it knows about each endpoint.
//!
//! Outcomes of requests come from [meters](crate::Endpoint::with_meter), which run on the request
//! path without a lock. A threshold that is crossed wakes the driver at once. Intervals below 1 ms,
//! the resolution of the timer, count as 1 ms.
//!
//! Settings ([`HealthCheck`], [`OutlierDetection`], [`CircuitBreaker`], [`AnomalyDetection`],
//! [`OverloadBackoff`], [`SlowStart`], [`Permits`], [`Draining`]) are checked by the method of
//! [`HealthExt`] that takes them. The folder `stage` holds what the adapters share; `passive` holds
//! the meters.
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

mod anomaly;
mod check;
mod circuit_breaker;
mod draining;
mod ext;
mod outlier;
mod overload_backoff;
mod passive;
mod permits;
mod slow_start;
mod stage;

#[cfg(feature = "tcp-check")]
pub use self::check::TcpCheck;
#[cfg(feature = "http")]
pub use self::check::{GrpcCall, GrpcCheck, HttpCheck, UnexpectedResponse};
pub use self::{
    anomaly::{
        AnomalyCounts, AnomalyDetected, AnomalyDetection, AnomalyFigures, AnomalyResult,
        AnomalyStatus, EndpointAnomaly,
    },
    check::{
        Check, CheckCount, CheckCounts, CheckFailure, CheckFigures, CheckStatus, EndpointCheck,
        HealthCheck, HealthChecked, InitialState, LastCheck,
    },
    circuit_breaker::{
        CircuitBreaker, CircuitBroken, CircuitCounts, CircuitFigures, CircuitState, CircuitStatus,
        EndpointCircuit,
    },
    draining::{DrainReport, Drained, Draining},
    ext::HealthExt,
    outlier::{
        EjectionCounts, EjectionFigures, EjectionReasons, EjectionState, EjectionStatus,
        EndpointEjection, FailureShare, LatencyOutliers, OutlierDetected, OutlierDetection, Stalls,
        SuccessRate,
    },
    overload_backoff::{
        BackoffCounts, BackoffFigures, BackoffStatus, EndpointBackoff, OverloadBackedOff,
        OverloadBackoff,
    },
    permits::{PermitLimited, Permits},
    slow_start::{SlowStart, SlowStarted},
    stage::figures::{Figures, StageStatus, WeakFigures},
};
