//! The simulator against what is known in closed form.

use tower_lb::strategy::{Dynamic, P2c, Random};
use tower_lb_sim::{
    balance::Balance,
    engine,
    ours::{Ours, Reports},
    scenario::{Arrivals, Scenario, all},
    server::Discipline,
    work::Work,
};

/// Poisson arrivals at `load` of servers of one core each.
fn queues(
    servers: usize,
    discipline: Discipline,
    work: Work,
    load: f64,
    duration: f64,
) -> Scenario {
    let base = all().remove(0);
    Scenario {
        clients: 1,
        servers: vec![(discipline, 1.0); servers],
        work,
        arrivals: Arrivals::Poisson(load * servers as f64 / work.mean()),
        duration,
        timeout: 1e3,
        ..base
    }
}

fn client(scenario: &Scenario, strategy: Dynamic<()>) -> Box<dyn Balance> {
    Box::new(Ours::new(scenario, Reports::Nothing, |_| strategy))
}

const FIFO: Discipline = Discipline::Fifo { workers: 1.0 };
const SHARING: Discipline = Discipline::Sharing { cores: 1.0 };
/// Seconds; the way to a server and back takes 0.0005.
const WORK: f64 = 1.0;
const WAY: f64 = 0.0005;

/// Mean time in the system, in units of the work.
fn mean(scenario: &Scenario, strategy: fn() -> Dynamic<()>) -> f64 {
    let measured = engine::run(scenario, 3, |_| client(scenario, strategy()));
    (measured.mean() - WAY) / WORK
}

fn assert_close(actual: f64, expected: f64, tolerance: f64) {
    assert!((actual / expected - 1.0).abs() < tolerance, "{actual:.3} is not {expected:.3}");
}

/// M/M/1: 1 / (1 - load).
#[test]
fn a_queue_is_as_long_as_it_should_be() {
    let queue = queues(1, FIFO, Work::Exponential(WORK), 0.8, 400_000.0);
    assert_close(mean(&queue, || Dynamic::new(Random)), 5.0, 0.04);
}

/// M/G/1 processor sharing: 1 / (1 - load), whatever the distribution of work.
#[test]
fn processor_sharing_is_insensitive_to_the_distribution_of_work() {
    for work in [
        Work::Exponential(WORK),
        Work::Constant(WORK),
        Work::Lognormal { mean: WORK, sigma: 1.0 },
        Work::Mixture { short: 0.5 * WORK, long: 5.5 * WORK, share: 0.1 },
    ] {
        let queue = queues(1, SHARING, work, 0.7, 200_000.0);
        assert_close(mean(&queue, || Dynamic::new(Random)), 1.0 / 0.3, 0.06);
    }
}

/// M/D/1, first come first served: 1 + load / (2 (1 - load)).
#[test]
fn constant_work_waits_half_as_long() {
    let queue = queues(1, FIFO, Work::Constant(WORK), 0.8, 200_000.0);
    assert_close(mean(&queue, || Dynamic::new(Random)), 1.0 + 0.8 / 0.4, 0.04);
}

/// The supermarket model (Mitzenmacher; Vvedenskaya, Dobrushin, Karpelevich): with two choices by
/// exact lengths of many queues, the sum of load^(2^i - 2).
#[test]
fn two_choices_are_as_good_as_the_supermarket_model_says() {
    let expected: f64 = (1..20).map(|i| 0.9_f64.powf(2.0_f64.powi(i) - 2.0)).sum();
    let queues = queues(200, FIFO, Work::Exponential(WORK), 0.9, 3000.0);
    let queues = Scenario { warm_up: 200.0, ..queues };
    let two = || Dynamic::new(P2c::new(tower_lb::load::Outstanding));
    assert_close(mean(&queues, two), expected, 0.03);
}

#[test]
fn a_rerun_gives_the_same_to_the_last_bit() {
    for name in ["S3", "S7h", "S14"] {
        let mut scenario = all().into_iter().find(|one| one.name == name).unwrap();
        scenario.duration = 15.0;
        let run = |seed| {
            engine::run(&scenario, seed, |_| client(&scenario, Dynamic::new(P2c::peak_ewma())))
        };
        let (first, second, other) = (run(1), run(1), run(2));
        assert!(first.requests > 10_000);
        let bits = |run: &tower_lb_sim::measure::Measured| -> Vec<u32> {
            run.latencies.iter().map(|latency| latency.to_bits()).collect()
        };
        assert_eq!(bits(&first), bits(&second), "{name}");
        assert_eq!(first.at_server, second.at_server, "{name}");
        assert_ne!(bits(&first), bits(&other), "{name}");
    }
}
