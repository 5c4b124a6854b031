//! The strategies that are compared, by name.

use tower_lb::{
    load::{Outstanding, PeakEwma},
    strategy::{Dynamic, LeastLoaded, P2c, Random, RoundRobin},
};

use crate::{
    balance::Balance,
    oracles::Oracle,
    ours::{Ours, Outbox, Reports},
    peers::TowerPeakEwma,
    scenario::Scenario,
};

/// A strategy by name.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub client: fn(&Scenario) -> Box<dyn Balance>,
}

pub const ORACLES: [Entry; 3] = [
    Entry { name: "oracle: jsq", client: |_| Box::new(Oracle::Jsq) },
    Entry { name: "oracle: sed", client: |_| Box::new(Oracle::Sed) },
    Entry { name: "oracle: sedlin", client: |_| Box::new(Oracle::SedLinear) },
];

fn ours(
    scenario: &Scenario,
    reports: Reports,
    build: impl FnOnce(Outbox) -> Dynamic<()>,
) -> Box<dyn Balance> {
    Box::new(Ours::new(scenario.servers.len(), reports, build))
}

fn client_only(scenario: &Scenario, strategy: Dynamic<()>) -> Box<dyn Balance> {
    ours(scenario, Reports::Nothing, |_| strategy)
}

/// All strategies but the oracles.
#[must_use]
pub fn strategies() -> Vec<Entry> {
    vec![
        Entry {
            name: "tower p2c + peak EWMA",
            client: |scenario| Box::new(TowerPeakEwma::new(scenario.servers.len())),
        },
        Entry { name: "random", client: |s| client_only(s, Dynamic::new(Random)) },
        Entry { name: "round robin", client: |s| client_only(s, Dynamic::new(RoundRobin::new())) },
        Entry {
            name: "p2c outstanding",
            client: |s| client_only(s, Dynamic::new(P2c::new(Outstanding))),
        },
        Entry {
            name: "p2c peak EWMA, bare",
            client: |s| client_only(s, Dynamic::new(P2c::new(PeakEwma::new()))),
        },
        Entry { name: "p2c peak EWMA", client: |s| client_only(s, Dynamic::new(P2c::peak_ewma())) },
        Entry {
            name: "least loaded",
            client: |s| client_only(s, Dynamic::new(LeastLoaded::default().scan_up_to(400))),
        },
        Entry {
            name: "least peak EWMA",
            client: |s| client_only(s, Dynamic::new(LeastLoaded::peak_ewma())),
        },
        Entry {
            name: "least peak EWMA, scan",
            client: |s| client_only(s, Dynamic::new(LeastLoaded::peak_ewma().scan_up_to(400))),
        },
    ]
}
