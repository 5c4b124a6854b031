//! Metrics of all components of a [`Registry`](super::Registry), for Prometheus and for the crate
//! `metrics`.
//!
//! An [`Exporter`] reads what the components have counted, at each request of it. It writes the
//! text that Prometheus scrapes ([`Exporter::render`]), or passes the values to the recorder of the
//! crate [`metrics`] ([`Exporter::publish`]). A request pays for neither.
//!
//! ```
//! # use tower_lb::observe::{Registry, metrics::Exporter};
//! let registry = Registry::new();
//! let exporter = Exporter::new(&registry);
//!
//! // In the handler of `GET /metrics`, with content type `Exporter::CONTENT_TYPE`:
//! let body = exporter.render();
//! # assert!(body.is_empty());
//! ```
//!
//! [`CATALOG`] lists all metrics; the page `docs/metrics.md` explains them.

mod catalog;
mod exporter;
mod project;
mod series;
mod text;

pub use self::{
    catalog::{CATALOG, Kind, Metric},
    exporter::{EndpointSeries, Exporter},
};
