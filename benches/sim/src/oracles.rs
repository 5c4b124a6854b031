//! Reference strategies that know the exact present state of all servers, which no real client
//! knows. They also know which servers fail or stall.

use tower_lb::outcome::Outcome;

use crate::{
    balance::{Balance, World},
    clock::Nanos,
    server::{Report, Server, Try},
};

/// The cost that an oracle minimises.
#[derive(Clone, Copy, Debug)]
pub enum Oracle {
    /// Requests at the server or on their way to it (join the shortest queue).
    Jsq,
    /// Expected delay; requests share cores only if all cores are busy.
    Sed,
    /// Requests, divided by the number of cores and their speed.
    SedLinear,
}

impl Oracle {
    fn cost(self, server: &Server) -> f64 {
        let after = f64::from(server.in_flight + server.arriving + 1);
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
