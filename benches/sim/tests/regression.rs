//! Short runs with fixed seeds: fails when a change makes a strategy worse. The bounds are what was
//! measured plus a few percent; runs are the same to the last bit, so none of it is chance.

use std::ops::Range;

use tower_lb_sim::{
    catalog::{ORACLES, strategies},
    engine,
    measure::Measured,
    scenario::{self, Scenario, all, ramp},
    table::Comparison,
};

const SECONDS: f64 = 25.0;

fn short(names: &[&str]) -> Vec<Scenario> {
    let mut some = all();
    some.retain(|one| names.contains(&one.name));
    some.iter_mut().for_each(|one| one.duration = SECONDS);
    some
}

fn compare(scenarios: &[Scenario], names: &[&str]) -> Comparison {
    let mut comparison = Comparison::default();
    let named = strategies().into_iter().filter(|entry| names.contains(&entry.name));
    for entry in ORACLES.into_iter().chain(named) {
        scenarios.iter().for_each(|scenario| comparison.run(scenario, &entry, 1));
    }
    comparison
}

#[test]
fn tails_are_no_longer_than_they_were() {
    let scenarios = short(&["S1", "S3", "S7", "S11", "S14"]);
    // For rand's `SmallRng`. With the generator before it the short runs were up to 5 % lower:
    // tower 1.60 and 1.91, least loaded 1.39 and 1.58, least peak EWMA 1.27 and 1.32, headers 1.21
    // and 1.39.
    let bounds = [
        ("tower p2c + peak EWMA", 1.67, 1.96),
        ("p2c peak EWMA", 1.63, 1.93),
        ("least loaded", 1.39, 1.62),
        ("least peak EWMA", 1.29, 1.41),
        ("headers: in flight, scan", 1.21, 1.44),
        ("probes: 1", 1.14, 1.17),
        ("prequal", 1.68, 1.79),
    ];
    let comparison = compare(&scenarios, &bounds.map(|(name, ..)| name));
    let mut worse = Vec::new();
    for (name, p99, p999) in bounds {
        let [ours, ours999] =
            [0.99, 0.999].map(|share| comparison.geometric_mean(&scenarios, name, share));
        println!("{name}: {ours:.3} {ours999:.3}");
        if ours > p99 || ours999 > p999 {
            worse.push(format!("{name}: {ours:.3}, {ours999:.3} and not {p99}, {p999}"));
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}

/// One of twenty servers fails at once, or half of the time, or all now and then.
#[test]
fn failing_servers_get_few_requests_and_others_do_not_suffer() {
    let scenarios = short(&["S8", "S9", "S13"]);
    let names = ["least loaded", "least peak EWMA", "headers: in flight, scan", "probes: 1"];
    let comparison = compare(&scenarios, &names);
    for name in names {
        let errors = |of| 100.0 * comparison.mean(of, name, Measured::error_share);
        let (all, half) = (errors("S8"), errors("S9"));
        let suffer = comparison.over_oracle("S13", name, 0.99);
        println!("{name}: {all:.3} {half:.3} {suffer:.3}");
        assert!(all <= 0.15 && half <= 0.2 && suffer <= 1.12, "{name}: {all} {half} {suffer}");
    }
}

/// A client that sees what neighbours leave of a server keeps its tail short beyond the allocation.
#[test]
fn an_overload_lengthens_tails_only_where_neighbours_are_not_seen() {
    let names = ["p2c peak EWMA", "least peak EWMA", "probes: 1"];
    let steps = ramp();
    assert!(steps.first().is_some_and(|(load, _)| *load == 0.75));
    let mut last = steps.last().cloned().expect("nine steps").1;
    last.duration = 14.0;
    let comparison = compare(std::slice::from_ref(&last), &names);
    let [blind, scan, probed] = names.map(|name| comparison.over_oracle(last.name, name, 0.99));
    println!("{blind:.2} {scan:.2} {probed:.2}");
    assert!(blind > 5.0 && scan < 1.9 && probed < 1.45, "{blind} {scan} {probed}");
}

/// Sixteen thousand clients of one request a second each: what they know is old unless they wait
/// for a probe.
#[test]
fn clients_that_send_little_have_short_tails_if_they_wait_for_probes() {
    let scenarios = short(&["S15x"]);
    let names = ["probes: 1", "probes: 1, awaited"];
    let comparison = compare(&scenarios, &names);
    let [old, awaited] = names.map(|name| comparison.over_oracle("S15x", name, 0.99));
    println!("{old:.2} {awaited:.2}");
    assert!(old > 1.5 && awaited < 1.2, "{old} {awaited}");
}

fn run(scenario: &Scenario, name: &str) -> Measured {
    let entry = strategies().into_iter().find(|entry| entry.name == name).expect("a strategy");
    engine::run(scenario, 1, |client| (entry.client)(scenario, client))
}

/// Where servers report their load, an endpoint that has little weight must be selected often
/// enough to report that it is idle.
#[test]
fn light_endpoints_do_not_starve() {
    for mut scenario in scenario::weights() {
        scenario.duration = 20.0;
        for name in ["headers: in flight, scan", "headers: all, scan", "probes: 1"] {
            let shares = run(&scenario, name).shares(&scenario.weights);
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            println!("{}, {name}: {least:.2}", scenario.name);
            assert!(least > 0.25, "{}, {name}: {shares:.2?}", scenario.name);
        }
    }
}

/// Clients begin or restart at the same moment, or half of the endpoints are replaced: in the first
/// two seconds tails are longer, from the fourth on they are not. At 1.74 times the allocation, and
/// in a fleet of two speeds.
#[test]
fn a_cold_start_is_over_soon() {
    let bounds = [
        ("cold", [(1.6, 0.45), (0.5, 0.45), (0.43, 0.38)]),
        ("cold, two speeds", [(0.105, 0.1), (0.1, 0.1), (0.095, 0.095)]),
        // Eight seeds give 1.44 to 1.73.
        ("clients restart", [(1.75, 0.55), (0.55, 0.48), (0.42, 0.41)]),
        ("half replaced", [(2.0, 0.55), (1.1, 0.58), (0.44, 0.42)]),
        ("half replaced, two speeds", [(0.13, 0.105), (0.105, 0.11), (0.1, 0.1)]),
    ];
    let names = ["least peak EWMA", "headers: all, scan", "probes: 1"];
    let scenarios = scenario::cold();
    assert_eq!(scenarios.len(), bounds.len());
    let mut worse = Vec::new();
    for (mut cold, (scenario, bounds)) in scenarios.into_iter().zip(bounds) {
        assert_eq!(cold.name, scenario);
        cold.duration = cold.warm_up + 8.0;
        let from = cold.warm_up as usize;
        for (name, (first, later)) in names.into_iter().zip(bounds) {
            let run = run(&cold, name);
            let tail = |seconds: Range<usize>| {
                run.quantile_in(from + seconds.start..from + seconds.end, 0.99)
            };
            let (start, soon) = (tail(0..2), tail(4..8));
            println!("{scenario}, {name}: {start:.3} {soon:.3}");
            if start > first || soon > later {
                worse.push(format!("{scenario}, {name}: {start:.3}, {soon:.3}"));
            }
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}

/// It is filled up to what it can do, and its own requests wait little longer than others.
#[test]
fn a_server_that_claims_to_be_idle_gets_no_more_than_it_can_do() {
    for (load, tail) in [(0.3, 0.11), (0.7, 0.125), (0.9, 0.13)] {
        let mut claims = scenario::claims(load);
        claims.duration = 25.0;
        for name in ["headers: in flight, scan", "headers: all, scan", "probes: 1"] {
            let run = run(&claims, name);
            let (share, p99) = (run.shares(&[1; 20])[0], run.quantile(0.99));
            println!("{load}, {name}: {share:.2} {p99:.3}");
            assert!(share * load < 1.05 && p99 < tail, "{load}, {name}: {share} {p99}");
        }
    }
}
