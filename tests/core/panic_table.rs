//! Walks through the table of docs/strategies.md that says what a panic rule goes by.

use std::collections::BTreeMap;

use tower_lb::{
    endpoint::{Endpoint, Health},
    strategy::{BuildContext, CrossZone, Dynamic, Panic, Random, Strategy, Tiers, ZoneAware},
};
use tower_lb_test_support::picks::{
    Named, assert_shares, candidates, in_zone, letter, shares, zone_named,
};

type Any = Dynamic<()>;

/// `healthy`, `degraded` and `unhealthy` endpoints, named h, d and u, in two zones by turns.
fn fleet(counts: [usize; 3]) -> Vec<Named> {
    let states: [(char, fn(Endpoint<()>) -> Endpoint<()>); 3] = [
        ('h', |endpoint| endpoint),
        ('d', |endpoint| endpoint.with_health(Health::degraded("slow"))),
        ('u', |endpoint| endpoint.with_health(Health::unhealthy("down"))),
    ];
    let mut fleet = Vec::new();
    for ((letter, state), count) in states.into_iter().zip(counts) {
        for number in 0..count {
            let zone = ["a", "b"][fleet.len() % 2];
            fleet.push((format!("{letter}{number}"), state(in_zone(zone))));
        }
    }
    fleet
}

/// The same endpoints in zones of their own kind, so that zones differ as much as can be.
fn sorted_fleet(counts: [usize; 3]) -> Vec<Named> {
    let zone_of = |name: &str| if name.starts_with('u') { "b" } else { "a" };
    let named = fleet(counts).into_iter();
    named
        .map(|(name, endpoint)| {
            let locality = zone_named(zone_of(&name));
            (name, endpoint.with_locality(locality))
        })
        .collect()
}

fn zones(inner: Any) -> Any {
    Any::new(ZoneAware::new(zone_named("a"), inner).cross_zone(CrossZone::Always))
}

fn panic(inner: Any) -> Any {
    Any::new(Panic::new(inner))
}

fn tiers(inner: Any) -> Any {
    Any::new(Tiers::new(inner))
}

/// The shares of the kinds, in percent, and whether a panic is told.
fn run(mut strategy: Any, fleet: &[Named]) -> (BTreeMap<String, f64>, bool) {
    let all = candidates(&strategy, fleet);
    let built = strategy.build(&all, &mut BuildContext::new());
    let panics = built.notices().iter().any(|notice| notice.contains("panic: "));
    (shares(built.picker(), letter), panics)
}

fn percentages(cell: &str) -> Vec<(char, f64)> {
    let cell = cell.trim_end_matches('%');
    let parts = cell.split('/').map(|part| part.trim().parse::<f64>().expect("a percentage"));
    ['h', 'd', 'u']
        .into_iter()
        .zip(parts.map(|part| part / 100.0))
        .filter(|one| one.1 > 0.0)
        .collect()
}

#[test]
fn the_table_is_true_in_every_order_of_the_wrappers() {
    let page = include_str!("../../docs/strategies.md");
    let header = "| healthy | degraded | unhealthy | panic |";
    let rows = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let mut checked = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [healthy, degraded, unhealthy, holds, plain, tiered] = cells[..] else {
            panic!("six cells: {row}");
        };
        let counts = [healthy, degraded, unhealthy].map(|count| count.parse().unwrap());
        let random = || Any::new(Random);
        let orders = [
            (panic(random()), plain),
            (panic(zones(random())), plain),
            (zones(panic(random())), plain),
            (tiers(panic(random())), tiered),
            (tiers(panic(zones(random()))), tiered),
            (tiers(zones(panic(random()))), tiered),
        ];
        for fleet in [fleet(counts), sorted_fleet(counts)] {
            for (order, (strategy, expected)) in orders.iter().enumerate() {
                let (actual, panics) = run(strategy.clone(), &fleet);
                assert_eq!(panics, holds == "yes", "{row}, order {order}");
                println!("{row}, order {order}");
                assert_shares(&actual, &percentages(expected));
            }
        }
        checked += 1;
    }
    assert_eq!(checked, 11, "rows of the table");
}
