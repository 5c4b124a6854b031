//! The events of a run, in the order of their times.
//!
//! The engine holds all state and the queue of events. What an event does is written where it happens: at
//! the clients, at the servers, on the way of a probe, or to the servers from outside.

mod clients;
#[allow(clippy::module_inception)]
mod engine;
mod environment;
mod event;
mod probes;
mod servers;

pub use self::engine::run;
