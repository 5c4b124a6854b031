//! Counts the instructions that one request costs. The count does not depend on the load of the
//! machine, so small differences between two commits are visible.
//!
//! ```sh
//! cargo run --release                 # prints the table of docs/performance.md
//! cargo run --release -- p2c          # prints the rows whose name contains "p2c"
//! cargo run --release -- --check      # fails if a row has grown by more than 3 %
//! cargo run --release -- --write      # accepts the counts as the new baseline
//! ```
//!
//! Each case runs twice under `valgrind --tool=callgrind`, with two numbers of requests. The
//! difference of the instructions divided by the difference of the requests is the cost of one
//! request. Building the balancer is in both runs and cancels out.
//!
//! To see where the instructions of a case go:
//!
//! ```sh
//! count=target/release/tower-lb-count
//! valgrind --tool=callgrind --callgrind-out-file=out $count run 100000 random
//! callgrind_annotate out
//! ```

mod baseline;
mod callgrind;
mod case;
mod cases;

use std::process::ExitCode;

use crate::{baseline::Baseline, callgrind::count, cases::CASES};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", requests, ref name @ ..] => run(requests, &name.join(" ")),
        ["--check"] => check(),
        ["--write"] => write(),
        [] => table(""),
        ["--help" | "-h", ..] => {
            eprintln!(
                "usage: tower-lb-count [--check | --write | run REQUESTS NAME | PART OF A NAME]"
            );
            ExitCode::SUCCESS
        }
        ref name => table(&name.join(" ")),
    }
}

/// Runs one case, without counting. `callgrind::count` starts the program with it.
fn run(requests: &str, name: &str) -> ExitCode {
    let case = CASES.iter().find(|case| case.name == name);
    let (Some(case), Ok(requests)) = (case, requests.parse()) else {
        eprintln!("there is no case {name:?}, or {requests:?} is not a number");
        return ExitCode::FAILURE;
    };
    (case.run)(requests);
    ExitCode::SUCCESS
}

/// Prints the cases whose names contain `part`, beside the baseline.
fn table(part: &str) -> ExitCode {
    let baseline = Baseline::read();
    println!("| case | instructions | baseline |\n|---|---:|---:|");
    for case in CASES.iter().filter(|case| case.name.contains(part)) {
        let before = baseline.of(case.name).map_or_else(String::new, |count| count.to_string());
        println!("| {} | {} | {before} |", case.name, count(case));
    }
    ExitCode::SUCCESS
}

fn write() -> ExitCode {
    Baseline::new(CASES.iter().map(|case| (case.name, count(case)))).write();
    ExitCode::SUCCESS
}

fn check() -> ExitCode {
    let baseline = Baseline::read();
    if baseline.names().next().is_none() {
        eprintln!("benches/count/baseline.txt is absent or empty; run with --write");
        return ExitCode::FAILURE;
    }
    if !baseline.is_of_these_tools() {
        println!("SKIPPED: the baseline was counted with {}", baseline.tools());
        return ExitCode::SUCCESS;
    }
    let mut result = ExitCode::SUCCESS;
    for case in CASES {
        let (now, before) = (count(case), baseline.of(case.name));
        let verdict = baseline::verdict(now, before);
        if verdict.is_failure() {
            result = ExitCode::FAILURE;
        }
        println!("{}: {now} instructions, {verdict}", case.name);
    }
    for name in baseline.names().filter(|name| CASES.iter().all(|case| case.name != *name)) {
        println!("{name}: in the baseline, but no case; run with --write");
        result = ExitCode::FAILURE;
    }
    result
}
