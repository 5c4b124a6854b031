//! A whole load balancer on real sockets: from the configuration to what clients and targets see.

mod carried_over;
mod errors;
mod ministack;
mod processes;
mod reload;
mod requests;
mod running;
mod sessions;
