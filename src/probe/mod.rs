//! Requests that wait for a probe, where a balancer would else go by what it heard long ago.
//!
//! The probes of [`Probed`](crate::strategy::Probed) and [`Prequal`](crate::strategy::Prequal) run beside
//! requests, which never wait for them. That needs requests: a client that sends one now and then
//! finds what it knows outdated each time. [`AwaitProbes`] stands before such a client's balancer: a request
//! that finds the last answer too old waits until two endpoints have answered anew.
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_lb::{
//!     Balancer,
//!     discover::{self, DiscoverExt},
//!     outcome::LoadReport,
//!     probe::AwaitProbesLayer,
//!     strategy::{Candidate, Freshest, Probed},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! // The first is busy, and says so.
//! let probe = |endpoint: &Candidate| {
//!     let requests = if endpoint.name() == "10.0.0.1:80" { 40.0 } else { 0.0 };
//!     async move { Ok::<_, Infallible>(LoadReport::new().with_requests_in_flight(requests)) }
//! };
//! let strategy = Probed::new(probe, Freshest::default());
//! let layer = AwaitProbesLayer::new(strategy.probes());
//!
//! let endpoints = discover::addresses(["10.0.0.1:80", "10.0.0.2:80"]).connect(|address| {
//!     let address = address.to_string();
//!     service_fn(move |(): ()| std::future::ready(Ok::<_, Infallible>(address.clone())))
//! });
//! let service = layer.layer(Balancer::spawn(strategy, endpoints));
//! // Nothing was known before this request.
//! assert_eq!(service.oneshot(()).await?, "10.0.0.2:80");
//! # Ok(())
//! # }
//! ```

mod await_probes;

pub use self::await_probes::{AwaitProbes, AwaitProbesFuture, AwaitProbesLayer};
