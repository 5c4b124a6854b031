//! Strategies with an exact view of all servers at the moment, which nobody has: the measure of all others.
//! They know which servers fail or stand still.

use tower_lb::outcome::Outcome;

use crate::{
    balance::{Balance, World},
    clock::Nanos,
    server::{Report, Server, Try},
};

/// What is least at the server that gets the request.
#[derive(Clone, Copy, Debug)]
pub enum Oracle {
    /// Requests there or on their way (join the shortest queue).
    Jsq,
    /// Expected delay: a core's time is shared only once all cores are busy.
    Sed,
    /// Requests for each core and its speed.
    SedLinear,
}

impl Oracle {
    fn cost(self, server: &Server) -> f64 {
        let after = f64::from(server.in_flight + server.under_way + 1);
        match self {
            _ if server.fails > 0.2 => f64::INFINITY,
            Self::Jsq => after,
            _ if server.frozen => 1e9,
            _ if server.delay.is_some() => server.delay.unwrap_or_default() * 1e3,
            Self::Sed => (after / server.cores()).max(1.0) / server.speed,
            Self::SedLinear => after / (server.cores() * server.speed),
        }
    }
}

impl Balance for Oracle {
    fn pick(&mut self, _number: Try, tried: &[u32], world: &mut World<'_>) -> u32 {
        let (mut best, mut least, mut ties) = (0, f64::INFINITY, 0.0);
        for (index, server) in (0..).zip(world.servers) {
            let cost = if tried.contains(&index) { 1e12 } else { self.cost(server) };
            if cost < least {
                (best, least, ties) = (index, cost, 1.0);
            } else if cost == least {
                ties += 1.0;
                if world.rng.unit() * ties < 1.0 {
                    best = index;
                }
            }
        }
        best
    }

    fn ended(&mut self, _: Try, _: u32, _: Outcome, _: Option<Report>, _: Nanos) {}
}
