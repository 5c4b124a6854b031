//! Spans for requests and their attempts, as OpenTelemetry's conventions for HTTP clients ask for.
//!
//! - [`TraceRequests`] is the outermost layer. It creates one span per request, of kind `internal`.
//! - [`TraceExt::connect_traced`] connects the endpoints. It creates one span of kind `client` for
//!   each attempt that reaches an endpoint: first tries, retries, hedges and failovers. They are
//!   siblings, children of the request's span.
//!
//! The spans are those of the crate `tracing`. With `tracing-opentelemetry`, the fields `otel.*`
//! become the name, the kind and the status of the exported span. The target of all of them is
//! `tower_lb::trace` and their level is `INFO`: a filter that rejects them switches them off.
//! Without spans, a request costs an atomic load and a look into its extensions, and each attempt
//! the clone of an `Arc`. Nothing is allocated, and no header changes.
//!
//! The attempts of requests that did not pass [`TraceRequests`] have no spans. So health checks and
//! load probes, which use the endpoints' services too, are not traced.
//!
//! [`guide::tracing`](crate::guide::tracing) lists all fields, and all events of this crate.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use http::HeaderMap;
//! use tower::ServiceBuilder;
//! use tower_lb::{
//!     balance::Builder,
//!     discover,
//!     http::{
//!         Origin, Pool, ResilienceLayer,
//!         trace::{TraceAttempts, TraceExt, TraceRequestsLayer},
//!     },
//!     strategy::P2c,
//! };
//! use tracing::Span;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // With OpenTelemetry: inject `span.context()` by the propagator of the program.
//! let propagate = |span: &Span, headers: &mut HeaderMap| {};
//!
//! let origins: [Origin; 2] = ["http://10.0.0.1:8080".parse()?, "http://10.0.0.2:8080".parse()?];
//! let endpoints = discover::addresses(origins)
//!     .connect_traced(TraceAttempts::new().propagate(propagate), Pool::new().connector());
//! let balancer = Builder::http().spawn(P2c::default(), endpoints)?;
//! let service = ServiceBuilder::new()
//!     .layer(TraceRequestsLayer::new("users"))
//!     .layer(ResilienceLayer::default())
//!     .service(balancer);
//! # let _ = tower::ServiceExt::oneshot(service, http::Request::new(http_body_util::Empty::<bytes::Bytes>::new()));
//! # Ok(()) }
//! # }
//! ```

mod attempts;
mod error_type;
mod ext;
mod open_span;
mod peer;
mod progress;
mod requests;
mod url;

pub use self::{
    attempts::{TraceAttempts, TracedEndpoint},
    ext::TraceExt,
    open_span::TracedFuture,
    peer::Peer,
    requests::{TraceRequests, TraceRequestsLayer},
    url::UrlTemplate,
};

/// The target of the spans, by which filters select them.
const TARGET: &str = "tower_lb::trace";
