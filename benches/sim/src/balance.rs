use tower_lb::{outcome::Outcome, strategy::Rng};

use crate::{
    clock::Nanos,
    server::{Report, Server, Try},
};

/// A client's balancer.
pub trait Balance {
    /// Returns whether `request` waits for a probe before its next attempt.
    fn holds(&mut self, request: u32) -> bool {
        let _ = request;
        false
    }

    /// Returns the server for an attempt, preferably one that is not in `tried`.
    fn pick(&mut self, number: Try, tried: &[u32], world: &mut World<'_>) -> u32;

    /// Records the end of an attempt. `report` is `None` if there was no response.
    fn ended(
        &mut self,
        number: Try,
        server: u32,
        outcome: Outcome,
        report: Option<Report>,
        now: Nanos,
    );

    /// Replaces a server by a new endpoint. Only clients with state per endpoint need this.
    fn replaced(&mut self, server: u32) {
        let _ = server;
    }

    /// Returns the probes to send now: a number that identifies the probe, and the server.
    fn probes(&mut self) -> Vec<(u32, u32)> {
        Vec::new()
    }

    /// Records the response to a probe.
    fn probed(&mut self, number: u32, report: Report) {
        let _ = (number, report);
    }
}

/// The data that a pick can use; only oracles read `servers`.
pub struct World<'a> {
    pub servers: &'a [Server],
    pub rng: &'a mut Rng,
    pub now: Nanos,
}
