//! A page that shows balancers live, with the same as JSON, and actions that the program grants.
//!
//! [`Dashboard`] is a `Service` of HTTP requests for any server. It needs no files, no build step
//! and no other host, and its URLs are relative, so that it works under any prefix.
//!
//! | path | method | response |
//! |---|---|---|
//! | `/` | GET | the page |
//! | `/api/report` | GET | the report as JSON |
//! | `/api/events` | GET | the report as server-sent events, one per [interval](DashboardBuilder::interval) |
//! | `/metrics` | GET | the metrics for Prometheus, with feature `metrics` |
//! | `/api/actions` | GET | which actions are granted |
//! | `/api/actions` | POST | performs an [`Action`], if the program grants any |
//!
//! ```
//! use tower_lb::observe::{Dashboard, Registry};
//!
//! let registry = Registry::new();
//! // For each component that the dashboard shows: `registry.add(&balancer)`.
//! let dashboard = Dashboard::new(&registry);
//! # let _ = dashboard;
//! ```
//!
//! # Mounting
//!
//! The page's address must end in a slash, because its URLs are relative. With axum:
//!
//! ```text
//! Router::new()
//!     .nest_service("/lb/", dashboard)
//!     .route("/lb", get(|| async { Redirect::permanent("/lb/") }))
//! ```
//!
//! With hyper, serve it at a port of its own, or remove the prefix from the path.
//!
//! # Actions
//!
//! A dashboard is read-only by default. [`DashboardBuilder::actions`] grants kinds of actions and
//! names the function that performs them. Two of them:
//!
//! ```
//! use std::collections::BTreeMap;
//! use tower_lb::{
//!     discover,
//!     endpoint::{Endpoint, Health},
//!     observe::{
//!         Registry,
//!         dashboard::{Action, ActionError, ActionKind, Dashboard},
//!     },
//!     strategy::{P2c, ZonalShift},
//! };
//!
//! # fn main() -> Result<(), tower_lb::ConfigError> {
//! # let token = "0123456789abcdef";
//! // The balancer gets `strategy`, and `endpoints` with a connector.
//! let (endpoints_handle, endpoints) = discover::channel::<String, &'static str>();
//! let strategy = ZonalShift::new(P2c::default());
//! let shift = strategy.handle();
//!
//! let addresses = BTreeMap::from([("a".to_owned(), "10.0.0.1:80")]);
//! # let registry = Registry::new();
//! let dashboard = Dashboard::builder(&registry)
//!     .token(token)
//!     .actions([ActionKind::Drain, ActionKind::ShiftZone], move |action| match action {
//!         Action::Drain { endpoint, .. } => {
//!             let address = addresses.get(&endpoint).ok_or(ActionError::UnknownTarget)?;
//!             let health = Health::Draining("drained by an operator".into());
//!             let draining = Endpoint::new(*address).with_health(health);
//!             endpoints_handle
//!                 .insert(endpoint, draining)
//!                 .map_err(|error| ActionError::Failed(error.into()))
//!         }
//!         Action::ShiftZone { zone, .. } => {
//!             shift.shift_away(zone);
//!             Ok(())
//!         }
//!         _ => Err(ActionError::Refused("only drain and shift_zone".into())),
//!     })
//!     .build()?;
//! # let _ = (dashboard, endpoints);
//! # Ok(()) }
//! ```
//!
//! A request for an action has a JSON body of at most 128 KiB, such as
//! `{"action":"drain","balancer":"api","endpoint":"a"}`, and passes these checks in this order:
//!
//! | check | otherwise |
//! |---|---|
//! | any action is granted | 405 |
//! | `Sec-Fetch-Site` is `same-origin` or `none`; without it, `Origin` equals `Host` or is absent | 403 |
//! | `Authorization: Bearer` has the token, if there is one | 401 |
//! | `Content-Type` is `application/json` | 415 |
//! | the body arrives within 10 s and is not too large | 408, 413 |
//! | the body is an action | 400 |
//! | the action is granted | 403 |
//! | the function succeeds | 404, 409, 500; see [`ActionError`] |
//!
//! Each request that passes the check of the body emits one event at level INFO with target
//! `tower_lb::audit`: `action`, `balancer`, `endpoint`, `zone`, `weight` and `result`.
//!
//! # What it costs
//!
//! The report is rendered while at least one client asks for it, at most once per interval for
//! all of them. No task is spawned: a stream of events makes its next frame when the server polls
//! it, so a client that does not read costs nothing but its connection. A stream that was not
//! polled for 30 s gives its place to a new one.
//!
//! # Security
//!
//! Everyone who reaches the dashboard can read the report. Bind it to loopback, or wrap it in a
//! layer that authenticates. With [`DashboardBuilder::allowed_hosts`], a web page cannot reach it
//! by DNS rebinding. All responses forbid inline scripts, framing and other hosts. The page shows
//! names as text, never as markup.

mod action;
mod assets;
mod body;
mod builder;
mod feed;
mod future;
mod guard;
mod respond;
mod service;

pub use self::{
    action::{Action, ActionError, ActionKind},
    body::Body,
    builder::DashboardBuilder,
    future::ResponseFuture,
    service::Dashboard,
};
