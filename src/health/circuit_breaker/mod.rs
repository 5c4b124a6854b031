//! Circuit breakers: stop requests to an endpoint that fails, and try it again later.
//!
//! `circuit_breaker` has the settings, `circuit_broken` the stream with the state of each circuit,
//! `circuit` the meter that counts failures on the request path, and `circuit_status` the figures.

mod circuit;
#[allow(clippy::module_inception)]
mod circuit_breaker;
mod circuit_broken;
mod circuit_status;

pub use self::{
    circuit_breaker::CircuitBreaker,
    circuit_broken::CircuitBroken,
    circuit_status::{CircuitCounts, CircuitFigures, CircuitState, CircuitStatus, EndpointCircuit},
};
