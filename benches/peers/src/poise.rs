use std::net::SocketAddr;

use poise_core::{Backend, policy::PowerOfTwoChoices};
use poise_tower::{Balance, Endpoint};

use crate::addresses::addresses;

/// poise's balancer by its P2C policy, over requests in flight.
pub fn fixed<S: Clone>(service: S, n: usize) -> Balance<Backend<SocketAddr>, S, PowerOfTwoChoices> {
    let endpoints =
        addresses(n).map(|address| Endpoint::new(Backend::new(address), service.clone())).collect();
    Balance::new(endpoints, PowerOfTwoChoices::new())
}
