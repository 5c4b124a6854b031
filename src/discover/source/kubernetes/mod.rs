//! Endpoints from Kubernetes: [`Kubernetes`] says what to watch, `watch` speaks with the API
//! server, `slice` reads its EndpointSlices.

#[allow(clippy::module_inception)]
mod kubernetes;
mod lines;
mod slice;
mod watch;

pub use self::kubernetes::Kubernetes;
