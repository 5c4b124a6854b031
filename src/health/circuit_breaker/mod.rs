mod circuit;
#[allow(clippy::module_inception)]
mod circuit_breaker;
mod circuit_broken;

pub use self::{circuit_breaker::CircuitBreaker, circuit_broken::CircuitBroken};
