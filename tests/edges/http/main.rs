//! HTTP: clients and servers of other makers, retries of bodies, sticky sessions, signatures.

#[path = "../../../examples/plots/retry_storm/simulation.rs"]
mod simulation;

mod client;
mod faults;
mod health_checks;
mod limit_until_body_end;
mod pool;
mod pool_tls;
mod proxy;
mod resilience;
mod retry_storm;
mod sigv4;
mod sticky;
