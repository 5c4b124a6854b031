//! Compares strategies and prints tables; see `HELP`.

use std::{error::Error, path::PathBuf};

use tower_lb_sim::{
    catalog::{Entry, ORACLES, strategies},
    engine,
    measure::Measured,
    plot,
    retry::Budget,
    scenario::{self, Scenario},
    table::Comparison,
};

const HELP: &str = "\
tower-lb-sim [--scenarios S1,S2] [--strategies NAME,NAME] [--seeds N] [--seconds N] [--plots DIR]
tower-lb-sim ramp [--strategies NAME,NAME] [--seconds N] [--plots DIR]
tower-lb-sim storm [--plots DIR]
tower-lb-sim weights | cold | claims [--strategies NAME,NAME]

Without options, runs all strategies once in all scenarios, for 60 s of virtual time each.

  ramp      the overload ramp
  storm     the retry storm
  weights   the share that each server gets, relative to its weight
  cold      the tails directly after all knowledge was lost
  claims    the share of a server that claims to be idle and fast

  --strategies NAME,NAME   only strategies whose names contain one of these texts
  --scenarios S1,S2        only these scenarios
  --seeds N                one run per seed
  --seconds N              the virtual time of a run
  --plots DIR              also writes SVG files into this folder";

const TOO_SHORT: &str =
    "`--seconds` is too short: expected more than the 10 s of warm-up, which are not counted";

enum What {
    Compare,
    Ramp,
    Storm,
    Weights,
    Cold,
    Claims,
}

struct Options {
    what: What,
    scenarios: Vec<Scenario>,
    strategies: Vec<Entry>,
    seeds: u64,
    seconds: Option<f64>,
    plots: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        what: What::Compare,
        scenarios: scenario::all(),
        strategies: strategies(),
        seeds: 1,
        seconds: None,
        plots: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(HELP);
        match argument.as_str() {
            "ramp" => options.what = What::Ramp,
            "storm" => options.what = What::Storm,
            "weights" => options.what = What::Weights,
            "cold" => options.what = What::Cold,
            "claims" => options.what = What::Claims,
            "--seeds" => options.seeds = value()?.parse()?,
            "--scenarios" => {
                let names = value()?;
                options.scenarios.retain(|one| names.split(',').any(|name| name == one.name));
            }
            "--strategies" => {
                let names = value()?;
                let named = |one: &Entry| names.split(',').any(|part| one.name.contains(part));
                options.strategies.retain(named);
            }
            "--seconds" => {
                let seconds = value()?.parse()?;
                let counted = seconds > scenario::WARM_UP;
                options.seconds = Some(counted.then_some(seconds).ok_or(TOO_SHORT)?);
            }
            "--plots" => options.plots = Some(value()?.into()),
            _ => return Err(HELP.into()),
        }
    }
    if let Some(seconds) = options.seconds {
        // Scenarios with later changes keep their duration.
        let fixed = |one: &Scenario| one.changes.iter().any(|change| change.at > 10.0);
        let free = options.scenarios.iter_mut().filter(|one| !fixed(one));
        free.for_each(|one| one.duration = seconds);
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    if let Some(directory) = &options.plots {
        std::fs::create_dir_all(directory)?;
    }
    match options.what {
        What::Compare => compare(&options),
        What::Ramp => ramp(&options),
        What::Storm => storm(&options),
        What::Weights => {
            weights(&options);
            Ok(())
        }
        What::Cold => {
            cold(&options);
            Ok(())
        }
        What::Claims => {
            claims(&options);
            Ok(())
        }
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let (scenarios, mut comparison) = (&options.scenarios, Comparison::default());
    for scenario in scenarios {
        for entry in ORACLES.iter().chain(&options.strategies) {
            comparison.run(scenario, entry, options.seeds);
        }
    }
    let names: Vec<_> = options.strategies.iter().map(|entry| entry.name).collect();
    println!("p99 and p99.9 over the best oracle: geometric mean of the compared scenarios\n");
    println!("| strategy | p99 | p99.9 | probes per request |\n|---|---:|---:|---:|");
    for name in &names {
        let mean = |share| comparison.geometric_mean(scenarios, name, share);
        let probes = comparison.probes(scenarios, name);
        println!("| {name} | {:.2} | {:.2} | {probes:.2} |", mean(0.99), mean(0.999));
    }
    println!("\np99 over the best oracle\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.2}", comparison.over_oracle(scenario, name, 0.99))
    });
    println!("\np99.9 over the best oracle\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.2}", comparison.over_oracle(scenario, name, 0.999))
    });
    println!("\np99.9 in ms\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.0}", 1e3 * comparison.mean(scenario, name, |run| run.quantile(0.999)))
    });
    println!("\nshare of requests that failed, in %\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.3}", 100.0 * comparison.mean(scenario, name, Measured::error_share))
    });
    println!("\nshare of requests that succeeded within a second, in %\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.3}", 100.0 * comparison.mean(scenario, name, |run| run.within(1.0)))
    });
    println!("\nattempts per request\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.3}", comparison.mean(scenario, name, Measured::tries_per_request))
    });
    println!("\nprobes per request\n");
    per_scenario(scenarios, &names, |scenario, name| {
        format!("{:.2}", comparison.mean(scenario, name, Measured::probes_per_request))
    });
    let Some(directory) = &options.plots else { return Ok(()) };
    for scenario in scenarios {
        let all = ORACLES.iter().map(|oracle| oracle.name).chain(names.iter().copied());
        let runs =
            all.filter_map(|name| Some((name, comparison.runs(scenario.name, name).first()?)));
        let runs: Vec<_> = runs.collect();
        let file = directory.join(format!("{}.svg", scenario.name));
        plot::latencies(&file, scenario.name, &runs)?;
    }
    Ok(())
}

fn per_scenario(scenarios: &[Scenario], names: &[&str], figure: impl Fn(&str, &str) -> String) {
    let columns: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    println!("| strategy | {} |\n|---|{}", columns.join(" | "), "---:|".repeat(columns.len()));
    for name in names {
        let figures: Vec<_> = columns.iter().map(|scenario| figure(scenario, name)).collect();
        println!("| {name} | {} |", figures.join(" | "));
    }
}

/// Prints a quantile by load, and the share of successes.
fn ramp(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut steps = scenario::ramp();
    if let Some(seconds) = options.seconds {
        steps.iter_mut().for_each(|(_, scenario)| scenario.duration = seconds);
    }
    let loads: Vec<_> = steps.iter().map(|(load, _)| format!("{load:.2}")).collect();
    println!(
        "p99 in ms by load over allocation, and the share of successes at the highest load in %\n"
    );
    println!("| strategy | {} | successes |", loads.join(" | "));
    println!("|---|{}", "---:|".repeat(loads.len() + 1));
    let mut lines = Vec::new();
    for entry in ORACLES.iter().chain(&options.strategies) {
        let run = |(load, scenario): &(f64, Scenario)| {
            (*load, engine::run(scenario, 1, |client| (entry.client)(scenario, client)))
        };
        let runs: Vec<_> = steps.iter().map(run).collect();
        let tails: Vec<_> =
            runs.iter().map(|(load, run)| (*load, 1e3 * run.quantile(0.99))).collect();
        let answered = runs.last().map_or(0.0, |(_, run)| 1.0 - run.error_share());
        let figures: Vec<_> = tails.iter().map(|(_, tail)| format!("{tail:.0}")).collect();
        println!("| {} | {} | {:.1} |", entry.name, figures.join(" | "), 100.0 * answered);
        lines.push((entry.name, tails));
    }
    let Some(directory) = &options.plots else { return Ok(()) };
    plot::ramp(&directory.join("ramp.svg"), "p99 by load, with neighbours", &lines)
}

/// Prints the smallest and the largest part that a server gets of its share by weight, and p99.
fn weights(options: &Options) {
    println!("smallest and largest part that a server gets of its share by weight; p99 in ms\n");
    let scenarios = scenario::weights();
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    println!("| strategy | {} |", names.join(" | "));
    println!("|---|{}", "---:|".repeat(names.len()));
    for entry in ORACLES.iter().chain(&options.strategies) {
        let figures = scenarios.iter().map(|scenario| {
            let run = engine::run(scenario, 1, |client| (entry.client)(scenario, client));
            let shares = run.shares(&scenario.weights);
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = shares.iter().copied().fold(0.0, f64::max);
            format!("{least:.2} {greatest:.2}; {:.0}", 1e3 * run.quantile(0.99))
        });
        println!("| {} | {} |", entry.name, figures.collect::<Vec<_>>().join(" | "));
    }
}

/// Prints p99 by the seconds since all knowledge was lost.
fn cold(options: &Options) {
    for scenario in scenario::cold() {
        println!("\n{}: p99 in ms, by seconds since the start\n", scenario.name);
        println!("| strategy | 0 to 1 | 1 to 2 | 2 to 4 | 4 to 8 | 8 to 20 |");
        println!("|---|---:|---:|---:|---:|---:|");
        let start = scenario.warm_up as usize;
        for entry in ORACLES.iter().chain(&options.strategies) {
            let run = engine::run(&scenario, 1, |client| (entry.client)(&scenario, client));
            let figures = [0..1, 1..2, 2..4, 4..8, 8..20].map(|seconds| {
                let seconds = start + seconds.start..start + seconds.end;
                format!("{:.0}", 1e3 * run.quantile_in(seconds, 0.99))
            });
            println!("| {} | {} |", entry.name, figures.join(" | "));
        }
    }
}

/// Prints the share of a server that claims to be idle and fast.
fn claims(options: &Options) {
    println!("part of its share that a server gets if it claims to be idle and fast; p99 in ms\n");
    println!("| strategy | load 0.3 | load 0.7 | load 0.9 |\n|---|---:|---:|---:|");
    for entry in &options.strategies {
        let figures = [0.3, 0.7, 0.9].map(|load| {
            let scenario = scenario::claims(load);
            let run = engine::run(&scenario, 1, |client| (entry.client)(&scenario, client));
            let share = run.shares(&[1; 20]).first().copied().unwrap_or_default();
            format!("{share:.2}; {:.0}", 1e3 * run.quantile(0.99))
        });
        println!("| {} | {} |", entry.name, figures.join(" | "));
    }
}

fn storm(options: &Options) -> Result<(), Box<dyn Error>> {
    let budgets = [
        ("no budget", Budget::None),
        ("bucket of 10 %", Budget::Bucket(0.1)),
        ("20 % of the last 10 s", Budget::Window(0.2)),
    ];
    let least = strategies().into_iter().find(|entry| entry.name == "least peak EWMA");
    let least = least.ok_or("the strategy `least peak EWMA` does not exist")?;
    println!(
        "| budget | cancellation | attempts per request | recovered after | goodput at the end |"
    );
    println!("|---|---|---:|---:|---:|");
    let mut runs = Vec::new();
    for cancellation in [false, true] {
        for (name, budget) in budgets {
            let scenario = scenario::retry_storm(budget, cancellation);
            let run = engine::run(&scenario, 1, |n| (least.client)(&scenario, n));
            let told =
                if cancellation { "reaches the server" } else { "does not reach the server" };
            let after = run.recovery(30).map_or("never".into(), |seconds| format!("{seconds} s"));
            println!(
                "| {name} | {told} | {:.2} | {after} | {:.1} % |",
                run.tries_per_request(),
                100.0 * run.goodput(80..90)
            );
            runs.push((format!("{name}, cancellation {told}"), run));
        }
    }
    let Some(directory) = &options.plots else { return Ok(()) };
    let named: Vec<_> = runs.iter().map(|(name, run)| (name.as_str(), run)).collect();
    plot::goodput(
        &directory.join("storm.svg"),
        "All servers 2.5 times slower from 20 to 30 s",
        &named,
    )
}
