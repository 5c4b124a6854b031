//! Lambda: events, retries, throttles, strategies; functions are simulated.

#[path = "../../support/simulated_functions.rs"]
mod simulated_functions;

mod events;
mod health;
mod retry;
mod search;
mod strategies;
mod throttles;
mod unsigned;
