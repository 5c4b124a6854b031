use tower_lb::{outcome::Outcome, strategy::Rng};

use crate::{
    clock::Nanos,
    server::{Report, Server, Try},
};

/// A client's balancer.
pub trait Balance {
    /// Whether a request is to wait before its next try, until a probe is answered.
    fn holds(&mut self, request: u32) -> bool {
        let _ = request;
        false
    }

    /// The server for a try; one that was not tried before if there is one.
    fn pick(&mut self, number: Try, tried: &[u32], world: &mut World<'_>) -> u32;

    /// A try has ended. `None` if there was no answer.
    fn ended(
        &mut self,
        number: Try,
        server: u32,
        outcome: Outcome,
        report: Option<Report>,
        now: Nanos,
    );

    /// A server is a new endpoint now. Only clients that learn of endpoints care.
    fn replaced(&mut self, server: u32) {
        let _ = server;
    }

    /// Servers to be probed now, with a number to tell the answers apart.
    fn probes(&mut self) -> Vec<(u32, u32)> {
        Vec::new()
    }

    /// A probe was answered.
    fn probed(&mut self, number: u32, report: Report) {
        let _ = (number, report);
    }
}

/// What a pick may look at; only oracles look at the servers.
pub struct World<'a> {
    pub servers: &'a [Server],
    pub rng: &'a mut Rng,
    pub now: Nanos,
}
