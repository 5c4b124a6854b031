//! The compared strategies by name.

use std::time::Duration;

use tower_lb::{
    load::{FailureAware, Outstanding, PeakEwma, PredictedLatency},
    strategy::{
        Candidate, Dynamic, Freshest, LeastLoaded, P2c, Prequal, Probed, Random, RoundRobin,
    },
};

use crate::{
    balance::Balance,
    oracles::Oracle,
    ours::{First, Ours, Outbox, ProbeResponse, Reports},
    peers::TowerPeakEwma,
    scenario::Scenario,
};

/// A named strategy.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    /// Creates the client with the given number.
    pub client: fn(&Scenario, u64) -> Box<dyn Balance>,
}

pub const ORACLES: [Entry; 3] = [
    Entry { name: "oracle: jsq", client: |_, _| Box::new(Oracle::Jsq) },
    Entry { name: "oracle: sed", client: |_, _| Box::new(Oracle::Sed) },
    Entry { name: "oracle: sedlin", client: |_, _| Box::new(Oracle::SedLinear) },
];

fn ours(
    scenario: &Scenario,
    reports: Reports,
    build: impl FnOnce(Outbox) -> Dynamic<()>,
) -> Box<dyn Balance> {
    Box::new(Ours::new(scenario, reports, build))
}

fn client_only(scenario: &Scenario, strategy: Dynamic<()>) -> Box<dyn Balance> {
    ours(scenario, Reports::Nothing, |_| strategy)
}

/// Returns all strategies except the oracles.
#[must_use]
pub fn strategies() -> Vec<Entry> {
    vec![
        Entry {
            name: "tower p2c + peak EWMA",
            client: |scenario, _| Box::new(TowerPeakEwma::new(scenario.servers.len())),
        },
        Entry { name: "random", client: |s, _| client_only(s, Dynamic::new(Random)) },
        Entry {
            name: "round robin",
            client: |s, _| client_only(s, Dynamic::new(RoundRobin::new())),
        },
        Entry {
            name: "p2c outstanding",
            client: |s, _| client_only(s, Dynamic::new(P2c::new(Outstanding))),
        },
        Entry {
            name: "p2c peak EWMA, bare",
            client: |s, _| client_only(s, Dynamic::new(P2c::new(PeakEwma::new()))),
        },
        Entry {
            name: "p2c peak EWMA",
            client: |s, _| client_only(s, Dynamic::new(P2c::peak_ewma())),
        },
        Entry {
            name: "least loaded",
            client: |s, _| client_only(s, Dynamic::new(LeastLoaded::default())),
        },
        Entry {
            name: "least peak EWMA",
            client: |s, _| client_only(s, Dynamic::new(LeastLoaded::peak_ewma())),
        },
        Entry {
            name: "headers: in flight, scan",
            client: |s, _| ours(s, Reports::InFlight, |_| Dynamic::new(scan())),
        },
        Entry {
            name: "headers: all, scan",
            client: |s, _| ours(s, Reports::Everything, |_| Dynamic::new(scan())),
        },
        Entry {
            name: "headers: average, scan",
            client: |s, _| ours(s, Reports::Average, |_| Dynamic::new(scan())),
        },
        Entry {
            name: "probes: 1",
            client: |s, n| ours(s, Reports::Everything, |outbox| probed(outbox, n, 1.0)),
        },
        Entry {
            name: "probes: 0.5",
            client: |s, n| ours(s, Reports::Everything, |outbox| probed(outbox, n, 0.5)),
        },
        Entry {
            name: "probes: 0.2",
            client: |s, n| ours(s, Reports::Everything, |outbox| probed(outbox, n, 0.2)),
        },
        Entry {
            name: "probes: 1, in flight",
            client: |s, n| ours(s, Reports::InFlight, |outbox| probed(outbox, n, 1.0)),
        },
        Entry {
            name: "probes: 1, in flight alone",
            client: |s, n| {
                let ours = Ours::new(s, Reports::InFlight, |outbox| probed(outbox, n, 1.0));
                Box::new(ours.probes_tell(Reports::InFlight))
            },
        },
        Entry {
            name: "probes: 1, average",
            client: |s, n| {
                let ours = Ours::new(s, Reports::Average, |outbox| probed(outbox, n, 1.0));
                Box::new(ours.probes_tell(Reports::Average))
            },
        },
        Entry {
            name: "probes: 1, no headers",
            client: |s, n| ours(s, Reports::Nothing, |outbox| probed(outbox, n, 1.0)),
        },
        Entry { name: "probes: 1, awaited", client: |s, n| awaited(s, n, 100, 1.0) },
        Entry { name: "probes: awaited by all", client: |s, n| awaited(s, n, 0, 0.0001) },
        Entry { name: "prequal, synchronous", client: synchronous },
        Entry {
            name: "prequal",
            client: |s, n| ours(s, Reports::Nothing, |outbox| Dynamic::new(prequal(outbox, n))),
        },
        Entry {
            name: "prequal, quantile 0.6",
            client: |s, n| {
                let build = |outbox| {
                    let strategy = prequal(outbox, n).quantile(0.6).expect("a share");
                    Dynamic::new(strategy)
                };
                ours(s, Reports::Nothing, build)
            },
        },
    ]
}

fn scan() -> LeastLoaded<FailureAware<PredictedLatency>> {
    LeastLoaded::new(FailureAware::new(PredictedLatency::new()))
}

fn probed(outbox: Outbox, client: u64, per_request: f64) -> Dynamic<()> {
    let probe = move |endpoint: &Candidate| outbox.probe(endpoint);
    let probed = Probed::new(probe, Freshest::default()).per_request(per_request);
    Dynamic::new(probed.expect("a rate").seed(client))
}

/// Lets requests wait for probes if the last response is older than `max_age` milliseconds.
fn awaited(scenario: &Scenario, client: u64, max_age: u64, per_request: f64) -> Box<dyn Balance> {
    let mut first = None;
    let build = |outbox: Outbox| {
        let probe = move |endpoint: &Candidate| outbox.probe(endpoint);
        let strategy = Probed::new(probe, Freshest::default()).seed(client);
        first = Some(First { probes: strategy.probes(), max_age: Duration::from_millis(max_age) });
        Dynamic::new(strategy.per_request(per_request).expect("a rate"))
    };
    let ours = Ours::new(scenario, Reports::Everything, build);
    Box::new(ours.waiting_for(first.expect("it was built")))
}

fn synchronous(scenario: &Scenario, client: u64) -> Box<dyn Balance> {
    let mut first = None;
    let build = |outbox: Outbox| {
        let strategy = prequal(outbox, client).per_request(0.0001).expect("a rate");
        first = Some(First { probes: strategy.probes(), max_age: Duration::ZERO });
        Dynamic::new(strategy)
    };
    let ours = Ours::new(scenario, Reports::Nothing, build);
    Box::new(ours.waiting_for(first.expect("it was built")))
}

fn prequal(
    outbox: Outbox,
    client: u64,
) -> Prequal<impl Fn(&Candidate) -> ProbeResponse + Clone + Send + 'static> {
    Prequal::new(move |endpoint: &Candidate| outbox.probe(endpoint)).seed(client)
}
