//! Endpoints from Kubernetes: [`Kubernetes`] configures the source, and `watch` keeps the state of
//! a service's EndpointSlices.
//!
//! `api` sends requests to the API server, `list` reads all slices page by page, `events` reads the
//! events of a watch, whose `lines` it splits. `slice` parses a slice, `slices` collects them up to
//! a limit.

mod api;
mod events;
#[allow(clippy::module_inception)]
mod kubernetes;
mod lines;
mod list;
mod slice;
mod slices;
mod watch;

pub use self::kubernetes::Kubernetes;
