//! Lambda: events, retries, throttles, strategies; functions are simulated.

#[path = "../../support/simulated_functions.rs"]
mod simulated_functions;

mod billing;
mod events;
mod events_as_captured;
mod events_on_the_wire;
mod health;
mod retry;
mod search;
mod strategies;
mod throttles;
mod unsigned;
