//! Random compositions of all strategies and wrappers, with random sources, limits, requests and clocks,
//! against a model of what each may do.
//!
//! After each step, everything that was woken is polled in the order of wake-ups. Then:
//!
//! - The balancer is ready exactly if an admitted endpoint has room, and a request that could be sent is
//!   not left waiting. What each wrapper admits is worked out anew with plain sets ([`oracle`]).
//! - Requests go to admitted endpoints that are ready, never to removed or replaced ones, never beyond
//!   the limit, and among those that compete in order of arrival.
//! - A step leads to a bounded number of pickers and polls; then everything rests.
//! - Nothing waits longer than it may, and in the end everything ends and nothing is in use.
//!
//! A failure names a command that repeats it, with as few steps as a search finds. A usual run has the same
//! seeds each time. `TOWER_LB_MODEL_SECONDS` runs fresh ones for that long; `TOWER_LB_MODEL_SEED` runs one
//! seed, and `TOWER_LB_MODEL_STEPS` only some of its steps.

#![cfg(all(feature = "lambda", feature = "sticky"))]

/// Tells what happens, where one seed is repeated.
macro_rules! say {
    ($($what:tt)*) => {
        if $crate::VERBOSE.load(std::sync::atomic::Ordering::SeqCst) {
            eprintln!($($what)*);
        }
    };
}

mod checked;
mod oracle;
mod server;
mod tree;
mod world;

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tower_lb::strategy::Rng;
use world::World;

const STEPS: usize = 150;
/// In a usual run of the tests: the same ones each time.
const SEEDS: usize = 1_000;
/// How often a failing run is repeated with fewer steps.
const TRIALS: usize = 3_000;

/// The random number of each step of a seed.
fn steps_of(seed: u64) -> Vec<u64> {
    let mut rng = Rng::seeded(!seed);
    let count = 10 + rng.below(STEPS);
    (0..count).map(|_| rng.bits()).collect()
}

#[derive(Default)]
struct Totals {
    seeds: usize,
    steps: usize,
    polls: usize,
    requests: usize,
}

/// What the last panic said.
static MESSAGE: Mutex<String> = Mutex::new(String::new());
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Runs these steps of a seed.
fn run(seed: u64, kept: &[usize], totals: &mut Totals) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let steps = steps_of(seed);
    let ran = panic::catch_unwind(AssertUnwindSafe(|| {
        // One poll runs everything: tokio's budget for a poll would stop it.
        runtime.block_on(tokio::task::coop::unconstrained(async {
            let mut world = World::new(seed);
            say!("{}", world.describe());
            for &step in kept {
                say!("step {step}");
                world.step(steps[step]).await;
            }
            world.end(seed).await;
            totals.polls += world.polls;
            totals.requests += world.completed;
        }));
    }));
    totals.seeds += 1;
    totals.steps += kept.len();
    ran.map_err(|_| MESSAGE.lock().unwrap().clone())
}

/// As few of the steps as are found to fail still.
fn shrink(seed: u64, mut kept: Vec<usize>) -> Vec<usize> {
    let mut trials = 0;
    let mut fails = |steps: &[usize]| {
        trials += 1;
        trials <= TRIALS && run(seed, steps, &mut Totals::default()).is_err()
    };
    let mut size = kept.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(start..(start + size).min(kept.len()));
            if fails(&fewer) {
                kept = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    kept
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn compositions_keep_their_promises() {
    panic::set_hook(Box::new(|info| {
        let message = info.to_string();
        if VERBOSE.load(SeqCst) {
            eprintln!("{message}\n{}", std::backtrace::Backtrace::capture());
        }
        *MESSAGE.lock().unwrap() = message;
    }));
    let mut totals = Totals::default();
    if let Some(seed) = number("TOWER_LB_MODEL_SEED") {
        VERBOSE.store(true, SeqCst);
        let all = || (0..steps_of(seed).len()).collect();
        let chosen = env::var("TOWER_LB_MODEL_STEPS").ok();
        let parse = |steps: String| {
            let steps = steps.split(',').filter(|step| !step.is_empty());
            steps.map(|step| step.parse().unwrap()).collect()
        };
        let kept: Vec<usize> = chosen.map_or_else(all, parse);
        if let Err(message) = run(seed, &kept, &mut totals) {
            let _ = panic::take_hook();
            panic!("{message}");
        }
        return;
    }
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let time = number("TOWER_LB_MODEL_SECONDS").map(Duration::from_secs);
    let first = number("TOWER_LB_MODEL_FIRST");
    let first = first.unwrap_or_else(|| if time.is_some() { fresh() } else { 1 });
    let (start, mut failures) = (Instant::now(), Vec::new());
    // A long run collects some failures; a usual one ends at the first.
    let most = if time.is_some() { 5 } else { 1 };
    for seed in first.. {
        let kept: Vec<_> = (0..steps_of(seed).len()).collect();
        if let Err(message) = run(seed, &kept, &mut totals) {
            let kept = shrink(seed, kept);
            let message = run(seed, &kept, &mut Totals::default()).err().unwrap_or(message);
            let steps: Vec<_> = kept.iter().map(ToString::to_string).collect();
            failures.push(format!(
                "{message}\nrepeat: TOWER_LB_MODEL_SEED={seed} TOWER_LB_MODEL_STEPS={} \
                 cargo test --all-features --test model_compositions",
                steps.join(",")
            ));
            eprintln!("{}\n", failures.last().unwrap());
        }
        let enough = match time {
            Some(time) => start.elapsed() > time,
            None => totals.seeds >= SEEDS,
        };
        if enough || failures.len() >= most {
            break;
        }
    }
    let _ = panic::take_hook();
    let Totals { seeds, steps, polls, requests } = totals;
    println!(
        "{seeds} seeds, {steps} steps, {polls} polls, {requests} requests ended, in {:.0?}",
        start.elapsed()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
