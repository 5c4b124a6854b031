//! Processes the events of a run in the order of their times.
//!
//! The engine holds all state and the queue of events. `clients`, `servers`, `probes` and
//! `environment` contain the effects of the events.

mod clients;
#[allow(clippy::module_inception)]
mod engine;
mod environment;
mod event;
mod probes;
mod servers;

pub use self::engine::run;
