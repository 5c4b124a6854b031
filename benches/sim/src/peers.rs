//! Small models of other balancers.

use std::collections::HashMap;

use tower_lb::{outcome::Outcome, strategy::Rng};

use crate::{
    balance::{Balance, World},
    clock::Nanos,
    server::{Report, Try},
};

/// tower's `p2c::Balance` over `PeakEwma` with Linkerd's settings: a decay of 10 s, and initially
/// 30 ms.
///
/// The estimate decays whenever it is read. The latency of an error counts like any other. If two
/// endpoints have the same load, the first drawn endpoint is selected.
#[derive(Debug)]
pub struct TowerPeakEwma {
    endpoints: Vec<Estimate>,
    sent: HashMap<Try, Nanos>,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    nanos: f64,
    updated: Nanos,
    pending: u32,
}

const DECAY: f64 = 10e9;
const DEFAULT: f64 = 30e6;

impl Estimate {
    fn update(&mut self, latency: Nanos, now: Nanos) {
        let latency = latency as f64;
        if latency > self.nanos {
            self.nanos = latency;
        } else {
            let kept = (-((now - self.updated) as f64) / DECAY).exp();
            self.nanos = self.nanos * kept + latency * (1.0 - kept);
        }
        self.updated = now;
    }

    fn load(&mut self, now: Nanos) -> f64 {
        self.update(0, now);
        self.nanos * f64::from(self.pending + 1)
    }
}

impl TowerPeakEwma {
    #[must_use]
    pub fn new(servers: usize) -> Self {
        let estimate = Estimate { nanos: DEFAULT, updated: 0, pending: 0 };
        Self { endpoints: vec![estimate; servers], sent: HashMap::new() }
    }
}

impl Balance for TowerPeakEwma {
    fn pick(&mut self, number: Try, _tried: &[u32], world: &mut World<'_>) -> u32 {
        let [first, second] = two(self.endpoints.len(), world.rng);
        let loads = [first, second].map(|index| self.endpoints[index].load(world.now));
        let picked = if loads[0] <= loads[1] { first } else { second };
        self.endpoints[picked].pending += 1;
        self.sent.insert(number, world.now);
        picked as u32
    }

    fn ended(&mut self, number: Try, server: u32, _: Outcome, _: Option<Report>, now: Nanos) {
        let estimate = &mut self.endpoints[server as usize];
        estimate.pending -= 1;
        let sent = self.sent.remove(&number).unwrap_or(now);
        estimate.update(now - sent, now);
    }
}

/// Draws two distinct indices below `len`, if `len` is at least 2.
fn two(len: usize, rng: &mut Rng) -> [usize; 2] {
    if len < 2 {
        return [0, 0];
    }
    let (first, other) = (rng.below(len), rng.below(len - 1));
    [first, other + usize::from(other >= first)]
}
