//! Laws that every strategy keeps, and what each promises on top.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use proptest::{prelude::*, test_runner::RngSeed};
use tokio::time::Instant;
use tower_lb::{
    endpoint::{Endpoint, Health, Tried},
    load::{FailureAware, Gauge, Load, Now, Outstanding, PeakEwma, Score},
    outcome::Outcome,
    strategy::{
        BoundedLoad, BuildContext, Candidate, Candidates, LeastLoaded, Maglev, P2c, Pick,
        PickContext, Random, Rendezvous, Rng, RoundRobin, Strategy,
    },
};

const MS: Duration = Duration::from_millis(1);

/// A backend of a simulation.
#[derive(Clone, Copy, Debug)]
struct Server {
    weight: u32,
    latency: Duration,
    fails: bool,
}

const fn server(weight: u32, latency: Duration) -> Server {
    Server { weight, latency, fails: false }
}

fn endpoints(servers: &[Server]) -> Vec<Endpoint<usize>> {
    servers
        .iter()
        .enumerate()
        .map(|(index, server)| Endpoint::new(index).with_weight(server.weight))
        .collect()
}

fn candidates(strategy: &impl Strategy, endpoints: &[Endpoint<usize>]) -> Candidates {
    Candidates::for_strategy(strategy, endpoints.iter().map(|e| (e.target(), e)))
}

/// Closed loop in virtual time: so many callers send one request after the other. Gives how many
/// requests each server got.
fn simulate<St>(mut strategy: St, servers: &[Server], callers: usize, requests: usize) -> Vec<f64>
where
    St: Strategy<Picker: Pick<()>>,
{
    let endpoints = endpoints(servers);
    let picker =
        strategy.build(&candidates(&strategy, &endpoints), &mut BuildContext::new()).into_picker();
    let start = Instant::now();
    let (mut rng, tried) = (Rng::seeded(42), Tried::none());
    let mut counts = vec![0.0; servers.len()];
    let mut attempts = Vec::new();
    let mut due: BinaryHeap<_> = (0..callers).map(|n| Reverse((n as u64, usize::MAX))).collect();
    for _ in 0..requests {
        let Reverse((nanos, finished)) = due.pop().unwrap();
        let now = start + Duration::from_nanos(nanos);
        if let Some((attempt, outcome)) = attempts.get_mut(finished).and_then(Option::take) {
            tower_lb::outcome::Attempt::finish_at(attempt, outcome, now);
        }
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        let picked = picker.pick(&(), &mut context).unwrap();
        let index: usize = picked.name().parse().unwrap();
        counts[index] += 1.0;
        let outcome =
            if servers[index].fails { Outcome::TransportFailure } else { Outcome::Success };
        attempts.push(Some((picked.begin(Some(now)).unwrap(), outcome)));
        // A little unevenness, so that callers don't march in step.
        let latency = servers[index].latency.as_nanos() as f64 * (0.9 + 0.2 * rng.unit());
        due.push(Reverse((nanos + latency as u64, attempts.len() - 1)));
    }
    counts
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

/// Every strategy, as a function of the name: so that a law is written once.
macro_rules! for_each_strategy {
    ($check:ident ( $($argument:expr),* )) => {{
        $check("round robin", RoundRobin::new(), $($argument),*);
        $check("random", Random, $($argument),*);
        $check("p2c", P2c::new(Outstanding), $($argument),*);
        $check("p2c, failure-aware", P2c::default(), $($argument),*);
        $check("p2c, peak EWMA", P2c::new(FailureAware::new(PeakEwma::new())), $($argument),*);
        $check("least", LeastLoaded::default(), $($argument),*);
        $check("least of five", LeastLoaded::default().scan_up_to(5).unwrap(), $($argument),*);
        // Without a key a request goes anywhere. What they do with keys is in `tests/core/hashing.rs`.
        $check("rendezvous", Rendezvous::new(|_: &()| None), $($argument),*);
        $check("maglev", Maglev::new(|_: &()| None), $($argument),*);
        let hash = Maglev::new(|_: &()| None);
        $check("bounded", BoundedLoad::new(hash, 2.0).unwrap(), $($argument),*);
    }};
}

/// Asserts that shares are those of the weights, to within `tolerance`, and nobody starves. Those who
/// follow latency follow its noise too, and get twice the tolerance.
fn weights_hold<St>(name: &str, strategy: St, weights: &[u32], callers: usize, tolerance: f64)
where
    St: Strategy<Picker: Pick<()>>,
{
    let servers: Vec<_> = weights.iter().map(|&weight| server(weight, 10 * MS)).collect();
    let shares = shares(&simulate(strategy, &servers, callers, 100_000));
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let tolerance = if name.contains("EWMA") { 2.0 * tolerance } else { tolerance };
    for (share, &weight) in shares.iter().zip(weights) {
        let expected = f64::from(weight) / total;
        let said = format!("{name}, {callers} callers, weights {weights:?}: {shares:.4?}");
        assert!((share - expected).abs() <= tolerance, "{said}");
        assert_eq!(*share > 0.0, weight > 0, "{said}");
    }
}

/// Under equal latency (give or take 10 %) shares are those of the weights to within a percentage
/// point: one request at a time for any weights, with 16 in flight for the most unequal.
#[test]
fn every_strategy_honours_weights() {
    let weights: [&[u32]; 7] =
        [&[198, 1, 1], &[5, 1, 1], &[3, 2], &[1, 1, 1, 1], &[0, 7, 3], &[u32::MAX; 2], &[9]];
    for weights in weights {
        for_each_strategy!(weights_hold(weights, 1, 0.01));
    }
    for_each_strategy!(weights_hold(&[198, 1, 1], 16, 0.01));
}

/// With few endpoints and several requests in flight, whole numbers get in the way: 16 requests can
/// be 11 to 5, but not 11.2 to 4.8. Load-aware strategies stay within two percentage points.
#[test]
fn weights_hold_among_few_busy_endpoints() {
    let weights: [&[u32]; 4] = [&[5, 1, 1], &[3, 2], &[0, 7, 3], &[1, 1, 1, 1]];
    for weights in weights {
        for_each_strategy!(weights_hold(weights, 16, 0.02));
    }
}

/// 20 endpoints of weights 1 to 10: each share within a percentage point.
#[test]
fn weights_hold_among_many() {
    let weights: Vec<u32> = (0..20).map(|index| index % 10 + 1).collect();
    for callers in [1, 40, 400] {
        for_each_strategy!(weights_hold(&weights, callers, 0.01));
    }
}

/// A scan by latency goes wherever the last few answers were quickest, so noise of 10 % moves its
/// shares: they hold to within three percentage points.
#[test]
fn weights_hold_roughly_when_all_latencies_are_compared() {
    for weights in [&[198, 1, 1][..], &[5, 1, 1], &[3, 2], &[1, 1, 1, 1]] {
        for callers in [1, 16] {
            let scan = LeastLoaded::new(FailureAware::new(PeakEwma::new()));
            weights_hold("least, peak EWMA", scan, weights, callers, 0.015);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// Any weights at all: what gets requests are those of a weight above 0, and all get their
    /// shares to within two percentage points; six for those who follow the noise of latencies.
    #[test]
    fn any_weights_will_do(weights in prop::collection::vec(prop_oneof![
        4 => 0_u32..20, 1 => Just(0), 1 => Just(u32::MAX), 1 => any::<u32>(),
    ], 1..12)) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        fn check<St: Strategy<Picker: Pick<()>>>(name: &str, strategy: St, weights: &[u32]) {
            let servers: Vec<_> = weights.iter().map(|&weight| server(weight, 10 * MS)).collect();
            let shares = shares(&simulate(strategy, &servers, 1, 20_000));
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for (share, &weight) in shares.iter().zip(weights) {
                let expected = f64::from(weight) / total;
                let tolerance = if name.contains("EWMA") { 0.06 } else { 0.02 };
                assert!((share - expected).abs() < tolerance, "{name}: {weights:?} {shares:.3?}");
                assert!(weight > 0 || *share == 0.0, "{name}: {weights:?} {shares:.3?}");
            }
        }
        for_each_strategy!(check(&weights));
    }
}

/// Picks once from fresh candidates.
fn pick_once<St>(strategy: &mut St, endpoints: &[Endpoint<usize>], tried: &Tried) -> Option<usize>
where
    St: Strategy<Picker: Pick<()>>,
{
    let picker =
        strategy.build(&candidates(strategy, endpoints), &mut BuildContext::new()).into_picker();
    let mut rng = Rng::seeded(1);
    let mut context = PickContext::new(&mut rng, Now::lazy(), tried);
    picker.pick(&(), &mut context).map(|candidate| candidate.name().parse().unwrap())
}

#[test]
fn without_an_eligible_endpoint_nothing_is_picked() {
    fn check<St: Strategy<Picker: Pick<()>>>(name: &str, mut strategy: St) {
        let sick = Endpoint::new(0).with_health(Health::unhealthy("down"));
        let sets = [vec![], vec![sick], vec![Endpoint::new(0).with_weight(0); 3]];
        for endpoints in sets {
            assert_eq!(pick_once(&mut strategy, &endpoints, &Tried::none()), None, "{name}");
        }
    }
    for_each_strategy!(check());
}

#[test]
fn tried_endpoints_are_avoided_as_long_as_there_is_another() {
    fn check<St: Strategy<Picker: Pick<()>>>(name: &str, mut strategy: St) {
        let endpoints = endpoints(&[server(1, MS); 50]);
        let mut tried = Tried::none();
        for _ in 0..endpoints.len() {
            let picked = pick_once(&mut strategy, &endpoints, &tried).unwrap();
            assert!(!tried.contains(endpoints[picked].stats()), "{name}");
            tried.add(endpoints[picked].stats());
        }
        let again = pick_once(&mut strategy, &endpoints, &tried);
        assert!(again.is_some(), "{name}: a preference, not a veto");
    }
    for_each_strategy!(check());
}

/// One of five endpoints fails within 1 ms, the others answer after 50; 16 callers. A fair share is
/// 20 %; strategies that take a quick failure for speed give it up to 40 %.
#[test]
fn an_endpoint_that_fails_fast_attracts_no_traffic() {
    let mut servers = [server(1, 50 * MS); 5];
    servers[2] = Server { weight: 1, latency: MS, fails: true };
    let share = |counts: Vec<f64>| shares(&counts)[2];
    let blind = share(simulate(P2c::new(Outstanding), &servers, 16, 50_000));
    assert!(blind > 0.3, "the trap is there: {blind}");

    // Ten minutes of it: what is remembered of the endpoint must not fade.
    for (name, share) in [
        ("p2c", share(simulate(P2c::default(), &servers, 16, 200_000))),
        ("p2c by latency", share(simulate(P2c::peak_ewma(), &servers, 16, 200_000))),
        ("least", share(simulate(LeastLoaded::default(), &servers, 16, 200_000))),
        ("least by latency", share(simulate(LeastLoaded::peak_ewma(), &servers, 16, 200_000))),
    ] {
        assert!(share < 0.02, "{name}: {share}");
    }
}

#[test]
fn a_slow_endpoint_gets_less() {
    let mut servers = [server(1, 10 * MS); 5];
    servers[0].latency = 100 * MS;
    let by_count = shares(&simulate(P2c::default(), &servers, 16, 50_000))[0];
    let by_latency = shares(&simulate(P2c::new(PeakEwma::new()), &servers, 16, 50_000))[0];
    assert!(by_count < 0.10, "{by_count}");
    assert!(by_latency < 0.03, "{by_latency}");
}

#[test]
fn an_unmeasured_endpoint_gets_exactly_one_request_until_it_has_answered() {
    let mut strategy = P2c::new(PeakEwma::new());
    let endpoints = endpoints(&[server(1, MS); 2]);
    let candidates = candidates(&strategy, &endpoints);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (mut rng, tried, start) = (Rng::seeded(3), Tried::none(), Instant::now());
    let warm = candidates.get(0).unwrap();
    warm.begin(Some(start)).unwrap().finish_at(Outcome::Success, start + 20 * MS);

    let mut pick = |now| {
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        let picked: &Candidate = Pick::<()>::pick(&picker, &(), &mut context).unwrap();
        (picked.name() == "1").then(|| picked.begin(Some(now)).unwrap())
    };
    let now = start + 20 * MS;
    let probe = pick(now).expect("idle and unmeasured: first choice");
    assert!((0..1000).all(|_| pick(now).is_none()), "busy and unmeasured: last choice");
    probe.finish_at(Outcome::Success, now + MS);
    assert!(pick(now + MS).is_some(), "measured as the faster one");
}

#[test]
fn p2c_looks_at_two_distinct_endpoints() {
    let mut strategy = P2c::new(Outstanding);
    for servers in [[server(1, MS); 2], [server(1000, MS), server(1, MS)]] {
        let endpoints = endpoints(&servers);
        let candidates = candidates(&strategy, &endpoints);
        let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
        let busy: Vec<_> =
            (0..5000).map(|_| candidates.get(0).unwrap().begin(None).unwrap()).collect();
        let (mut rng, tried) = (Rng::seeded(3), Tried::none());
        for _ in 0..1000 {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
            let picked: &Candidate = Pick::<()>::pick(&picker, &(), &mut context).unwrap();
            assert_eq!(picked.name(), "1", "the other has 5000 requests");
        }
        drop(busy);
    }
}

#[test]
fn smooth_round_robin_is_spread_and_starts_anywhere() {
    let order = |mut strategy: RoundRobin, weights: &[u32], picks| {
        let servers: Vec<_> = weights.iter().map(|&weight| server(weight, MS)).collect();
        let endpoints = endpoints(&servers);
        (0..picks)
            .map(|_| pick_once(&mut strategy, &endpoints, &Tried::none()).unwrap())
            .map(|index| char::from(b'a' + index as u8))
            .collect::<String>()
    };
    assert_eq!(order(RoundRobin::starting_at(0), &[5, 1, 1], 14), "aabacaaaabacaa");
    let firsts: std::collections::HashSet<_> =
        (0..100).map(|_| order(RoundRobin::new(), &[1; 8], 1)).collect();
    assert!(firsts.len() > 4, "fresh clients start at different endpoints: {firsts:?}");
}

#[test]
fn round_robin_stays_even_under_concurrency() {
    let mut strategy = RoundRobin::new();
    let endpoints = endpoints(&[server(3, MS), server(1, MS)]);
    let picker =
        strategy.build(&candidates(&strategy, &endpoints), &mut BuildContext::new()).into_picker();
    let count = |thread| {
        let (mut rng, tried) = (Rng::seeded(thread), Tried::none());
        let picks = (0..40_000).filter(|_| {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
            Pick::<()>::pick(&picker, &(), &mut context).unwrap().name() == "0"
        });
        picks.count()
    };
    let heavy: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || count(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(heavy, 120_000, "exactly three in four, whoever picked");
}

#[test]
fn loads_that_are_no_numbers_harm_nobody() {
    #[derive(Debug)]
    struct Broken(f64);
    impl Load for Broken {
        fn score(&self, gauge: &Gauge<'_>, _now: &mut Now) -> Score {
            if gauge.stats().outstanding() > 0 {
                Score { cost: self.0, backlog: self.0 }
            } else {
                Score { cost: 1.0, backlog: 0.0 }
            }
        }
    }
    for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX] {
        for weights in [[1, 1, 1], [3, 1, 1]] {
            let servers = weights.map(|weight| server(weight, MS));
            let p2c = simulate(P2c::new(Broken(broken)), &servers, 8, 3000);
            let least = simulate(LeastLoaded::new(Broken(broken)), &servers, 8, 3000);
            for counts in [p2c, least] {
                assert!(counts.iter().all(|&count| count > 100.0), "{broken}: {counts:?}");
            }
        }
    }
}

/// The table in `docs/strategies.md`:
/// `cargo test --release --test core -- --nocapture strategies::consequences`.
#[test]
fn consequences() {
    fn row<St: Strategy<Picker: Pick<()>> + Clone>(name: &str, strategy: St) {
        let share_of_first = |servers: &[Server], callers| {
            100.0 * shares(&simulate(strategy.clone(), servers, callers, 100_000))[0]
        };
        let mut slow = [server(1, 10 * MS); 5];
        slow[0].latency = 100 * MS;
        let mut failing = [server(1, 50 * MS); 5];
        failing[0] = Server { weight: 1, latency: MS, fails: true };
        let weighted = [server(198, 10 * MS), server(1, 10 * MS), server(1, 10 * MS)];
        println!(
            "| {name} | {:.1} % | {:.1} % | {:.1} % | {:.1} % |",
            share_of_first(&slow, 16),
            share_of_first(&failing, 16),
            share_of_first(&weighted, 1),
            share_of_first(&weighted, 16),
        );
    }
    println!(
        "| strategy | 1 of 5 is 10x slower | 1 of 5 fails fast | 198:1:1, 1 caller | 198:1:1, 16 callers |"
    );
    println!("|---|---|---|---|---|");
    row("`RoundRobin`", RoundRobin::starting_at(0));
    row("`Random`", Random);
    row("`P2c::new(Outstanding)`", P2c::new(Outstanding));
    row("`P2c::default()`", P2c::default());
    row("`P2c::new(PeakEwma)`", P2c::new(PeakEwma::new()));
    row("`P2c::peak_ewma()`", P2c::peak_ewma());
    row("`LeastLoaded::default()`", LeastLoaded::default());
    row("`LeastLoaded::peak_ewma()`", LeastLoaded::peak_ewma());
}
