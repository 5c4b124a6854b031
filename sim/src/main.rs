//! Compares strategies: `cargo run --release -- --help`.

use tower_lb_sim::{
    catalog::{ORACLES, strategies},
    measure::Measured,
    scenario,
    table::Comparison,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut seeds, mut only, mut named, mut seconds) = (1, String::new(), String::new(), 60.0);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--seeds" => seeds = value().parse().expect("a number"),
            "--scenarios" => only = value(),
            "--strategies" => named = value(),
            "--seconds" => seconds = value().parse().expect("a number"),
            _ => panic!("unknown: {argument}"),
        }
    }
    let mut scenarios = scenario::all();
    if !only.is_empty() {
        let only: Vec<_> = only.split(',').collect();
        scenarios.retain(|one| only.contains(&one.name));
    }
    for one in &mut scenarios {
        if one.changes.iter().all(|change| change.at <= 10.0) {
            one.duration = seconds;
        }
    }
    let mut entries = strategies();
    if !named.is_empty() {
        let named: Vec<_> = named.split(',').collect();
        entries.retain(|one| named.iter().any(|named| one.name.contains(named)));
    }
    let mut comparison = Comparison::default();
    for one in &scenarios {
        for oracle in &ORACLES {
            comparison.run(one, oracle, seeds);
        }
    }
    print!("{:28} {:>6} {:>6} {:>6} |", "strategy", "p99", "p99.9", "probes");
    scenarios.iter().for_each(|one| print!(" {:>5}", one.name));
    println!(" | errors % S8 S8w S9");
    for entry in ORACLES.iter().chain(&entries) {
        let name = entry.name;
        if !name.starts_with("oracle") {
            scenarios.iter().for_each(|one| comparison.run(one, entry, seeds));
        }
        print!(
            "{name:28} {:6.3} {:6.3} {:6.2} |",
            comparison.geometric_mean(&scenarios, name, 0.99),
            comparison.geometric_mean(&scenarios, name, 0.999),
            comparison.probes(&scenarios, name)
        );
        for one in &scenarios {
            print!(" {:5.2}", comparison.over_oracle(one.name, name, 0.99));
        }
        print!(" |");
        for of in ["S8", "S8w", "S9"] {
            print!(" {:.3}", 100.0 * comparison.mean(of, name, Measured::error_share));
        }
        println!();
    }
}
