//! Runs this program under callgrind.

use std::process::Command;

use crate::case::Case;

/// The numbers of requests of the two runs. The first is large enough that estimates are warm.
const REQUESTS: [u64; 2] = [2_000, 12_000];

/// Returns the instructions that one request of the case takes.
pub fn count(case: &Case) -> u64 {
    let [few, many] = REQUESTS.map(|requests| instructions(case, requests));
    let between = REQUESTS[1] - REQUESTS[0];
    (many.saturating_sub(few) + between / 2) / between
}

fn instructions(case: &Case, requests: u64) -> u64 {
    let program = std::env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", &requests.to_string(), case.name])
        .output()
        .expect("valgrind starts: install the package valgrind");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{log}", case.name);
    let collected = log.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.expect("callgrind prints what it collected");
    collected.trim().parse().expect("a number of instructions")
}
