//! Strategies that go by what servers report of their load: honest reports, forged ones, none.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*, strategy::Strategy as _};
use tokio::time::{Instant, advance, sleep};
use tower::{ServiceExt, service_fn};
use tower_lb::{
    Balancer, BoxError, discover,
    endpoint::{Endpoint, Tried},
    load::{FailureAware, Now, PredictedLatency},
    outcome::{Attempt, LoadReport, Outcome},
    strategy::{
        BuildContext, Candidate, Candidates, Freshest, LeastLoaded, Pick, PickContext, Prequal,
        Probed, Rng, Strategy, WeightedRoundRobin,
    },
};

const MS: Duration = Duration::from_millis(1);

fn in_flight(requests: u32) -> LoadReport {
    LoadReport::new().with_requests_in_flight(requests.into()).with_latency(10 * MS)
}

fn candidates(strategy: &impl Strategy, count: usize) -> Candidates {
    let endpoints: Vec<_> = (0..count).map(|name| (name, Endpoint::new(()))).collect();
    Candidates::for_strategy(strategy, endpoints.iter().map(|(name, one)| (name, one)))
}

/// What a server of the simulation says with each response, given how many requests it has.
type Says = fn(usize, u32) -> Option<LoadReport>;

/// Open loop, two requests a millisecond for 20 s, each served in 10 ms, or `took`. Gives shares.
fn simulate<St>(
    mut strategy: St,
    servers: usize,
    says: Says,
    took: fn(usize) -> Duration,
) -> Vec<f64>
where
    St: Strategy<Picker: Pick<()>>,
{
    let candidates = candidates(&strategy, servers);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (start, mut rng, tried) = (Instant::now() + MS, Rng::seeded(7), Tried::none());
    let mut attempts: Vec<(Instant, usize, Attempt)> = Vec::new();
    let mut counts = vec![0.0; servers];
    const REQUESTS: u32 = 40_000;
    for number in 0..REQUESTS {
        let now = start + number * MS / 2;
        let (due, waiting) = attempts.into_iter().partition::<Vec<_>, _>(|(due, ..)| *due <= now);
        attempts = waiting;
        for (due, server, mut attempt) in due {
            let there = candidates.get(server).unwrap().stats().outstanding() - 1;
            if let Some(report) = says(server, there) {
                attempt.report_at(&report, due);
            }
            attempt.first_byte_at(due);
            attempt.finish_at(Outcome::Success, due);
        }
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        let picked = picker.pick(&(), &mut context).unwrap();
        let server: usize = picked.name().parse().unwrap();
        counts[server] += 1.0 / f64::from(REQUESTS);
        let jitter = 0.5 + rng.unit();
        attempts.push((
            now + took(server).mul_f64(jitter),
            server,
            picked.begin(Some(now)).unwrap(),
        ));
    }
    counts
}

fn scan() -> LeastLoaded<FailureAware<PredictedLatency>> {
    LeastLoaded::new(FailureAware::new(PredictedLatency::new()))
}

#[test]
fn honest_reports_share_the_load_evenly() {
    let says: Says = |_, there| Some(in_flight(there));
    let scan = simulate(scan(), 8, says, |_| 10 * MS);
    assert!(scan.iter().all(|share| (0.09..0.16).contains(share)), "{scan:.3?}");
    let freshest = simulate(Freshest::default(), 8, says, |_| 10 * MS);
    assert!(freshest.iter().all(|share| (0.09..0.16).contains(share)), "freshest {freshest:.3?}");
}

/// Without requests an endpoint has no occasion to report, and would not get any.
#[test]
fn one_that_is_idle_is_not_forgotten() {
    let mut strategy = Freshest::default();
    let candidates = candidates(&strategy, 8);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (mut rng, tried, now) = (Rng::seeded(7), Tried::none(), Instant::now() + MS);
    let report = |index: usize, at| candidates.get(index).unwrap().report(&in_flight(2), at);
    report(7, now);
    let mut is_picked = |times: u32, now| {
        (0..times).any(|_| {
            let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
            picker.pick(&(), &mut context).unwrap().name() == "7"
        })
    };
    // With the one of the endpoint itself 1024 reports in all, 128 for each, and one more.
    let reports = (0..1023).map(|number| (number % 7, now + MS * (number as u32 / 7)));
    let later = now + 150 * MS;
    reports.for_each(|(index, at)| report(index, at));
    assert!(!is_picked(200, later), "not yet: it is not among the freshest");
    report(0, later);
    assert!(is_picked(200, later), "by chance it is drawn for one pick of eight");
}

/// One of eight claims to be idle and quick for ever, and takes ten times as long as the others.
#[test]
fn a_server_that_claims_to_be_idle_does_not_attract_everything() {
    let says: Says = |server, there| match server {
        0 => Some(LoadReport::new().with_requests_in_flight(0.0).with_latency(MS / 1000)),
        _ => Some(in_flight(there)),
    };
    let took = |server| if server == 0 { 100 * MS } else { 10 * MS };
    for (name, shares) in [
        ("scan", simulate(scan(), 8, says, took)),
        ("freshest", simulate(Freshest::default(), 8, says, took)),
    ] {
        assert!(shares[0] < 0.125, "{name}: no more than a fair share: {shares:.3?}");
        assert!(shares.iter().all(|&share| share > 0.0), "{name}: nobody starves: {shares:.3?}");
    }
}

#[test]
fn absurd_reports_neither_starve_nor_attract() {
    let says: Says = |server, there| match server {
        0 => Some(LoadReport::new().with_requests_in_flight(f64::MAX).with_latency(Duration::MAX)),
        1 => Some(LoadReport::new().with_requests_in_flight(f64::NAN)),
        2 => Some(LoadReport::new().with_requests_in_flight(-1.0).with_latency(Duration::ZERO)),
        _ => Some(in_flight(there)),
    };
    for (name, shares) in [
        ("scan", simulate(scan(), 8, says, |_| 10 * MS)),
        ("freshest", simulate(Freshest::default(), 8, says, |_| 10 * MS)),
    ] {
        assert!(shares[0] > 0.0, "{name}: what it claimed ages: {shares:.3?}");
        assert!(shares.iter().all(|&share| share < 0.4), "{name}: {shares:.3?}");
    }
}

#[test]
fn servers_that_do_not_report_get_their_share_too() {
    let half: Says = |server, there| (server % 2 == 0).then(|| in_flight(there));
    for (name, shares) in [
        ("scan", simulate(scan(), 8, half, |_| 10 * MS)),
        ("freshest, few report", simulate(Freshest::default(), 8, half, |_| 10 * MS)),
        ("freshest", simulate(Freshest::default(), 16, half, |_| 10 * MS)),
    ] {
        let silent: f64 = shares.iter().skip(1).step_by(2).sum();
        assert!((0.15..0.7).contains(&silent), "{name}: {silent:.3} to those who say nothing");
        assert!(shares.iter().all(|&share| share > 0.0), "{name}: {shares:.3?}");
    }
    let nobody: Says = |_, _| None;
    for shares in [
        simulate(scan(), 8, nobody, |_| 10 * MS),
        simulate(Freshest::default(), 8, nobody, |_| 10 * MS),
    ] {
        assert!(shares.iter().all(|share| (0.05..0.25).contains(share)), "{shares:.3?}");
    }
}

/// A fleet of servers with as many workers as their weights say, and what it is asked.
#[derive(Clone, Debug)]
struct Fleet {
    weights: Vec<u32>,
    load: f64,
    /// Whether reports tell latencies, and whether servers are probed as well, once for each request.
    tells_latency: bool,
    probed: bool,
    seed: u64,
}

impl Fleet {
    /// Open loop; each request takes 10 ms of a worker, on average. Gives the part of its share by
    /// weight that each server gets.
    fn simulate(&self, mut strategy: impl Strategy<Picker: Pick<()>>) -> Vec<f64> {
        const REQUESTS: u32 = 20_000;
        let all: f64 = self.weights.iter().copied().map(f64::from).sum();
        let endpoints: Vec<_> =
            self.weights.iter().map(|&weight| Endpoint::new(()).with_weight(weight)).collect();
        let candidates = Candidates::for_strategy(&strategy, endpoints.iter().enumerate());
        let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
        let (start, mut rng, tried) = (Instant::now() + MS, Rng::seeded(self.seed), Tried::none());
        let free = |&weight: &u32| vec![start; weight as usize];
        let mut workers: Vec<_> = self.weights.iter().map(free).collect();
        let mut attempts: BTreeMap<(Instant, u32), (usize, Instant, Attempt)> = BTreeMap::new();
        let mut counts = vec![0.0; self.weights.len()];
        let (mut now, gap) = (start, 10.0 * MS.as_secs_f64() / (self.load * all));
        for number in 0..REQUESTS {
            now += Duration::from_secs_f64(-gap * (1.0 - rng.unit()).ln());
            while let Some(first) = attempts.first_entry().filter(|first| first.key().0 <= now) {
                let ((due, _), (server, began, mut attempt)) = first.remove_entry();
                let there = candidates.get(server).unwrap().stats().outstanding() - 1;
                attempt.report_at(&self.report(there, due - began), due);
                attempt.first_byte_at(due);
                attempt.finish_at(Outcome::Success, due);
            }
            if self.probed {
                let probed = candidates.get(rng.below(counts.len())).unwrap();
                let report = LoadReport::new();
                let there = probed.stats().outstanding().into();
                probed.report(&report.with_requests_in_flight(there), now);
            }
            let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
            let picked = picker.pick(&(), &mut context).unwrap();
            let server: usize = picked.name().parse().unwrap();
            let weight = f64::from(self.weights[server]);
            counts[server] += all / weight / f64::from(REQUESTS);
            let worker = workers[server].iter_mut().min().unwrap();
            *worker = now.max(*worker) + (10 * MS).mul_f64(0.5 + rng.unit());
            let attempt = picked.begin(Some(now)).unwrap();
            attempts.insert((*worker, number), (server, now, attempt));
        }
        counts
    }

    fn report(&self, there: u32, took: Duration) -> LoadReport {
        let report = LoadReport::new().with_requests_in_flight(there.into());
        if self.tells_latency { report.with_latency(took) } else { report }
    }
}

fn fleets() -> impl proptest::strategy::Strategy<Value = Fleet> {
    let weights = prop_oneof![
        vec(1..=10_u32, 4..20),
        vec(prop_oneof![Just(1_u32), Just(100)], 4..12),
        vec(Just(100_u32), 4..12),
    ];
    (weights, 0.3..0.95, any::<[bool; 2]>(), any::<u64>()).prop_map(
        |(weights, load, [tells_latency, probed], seed)| Fleet {
            weights,
            load,
            tells_latency,
            probed,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// What an endpoint doesn't report must be assumed for its weight: otherwise a light one is never
    /// selected, and has no occasion to report.
    #[test]
    fn every_endpoint_gets_a_quarter_of_its_share_by_weight_at_least(fleet in fleets()) {
        for (name, shares) in [
            ("scan", fleet.simulate(scan())),
            ("freshest", fleet.simulate(Freshest::default())),
        ] {
            prop_assert!(shares.iter().all(|&share| share > 0.25), "{name}: {shares:.2?}");
            prop_assert!(shares.iter().all(|&share| share < 2.0 / fleet.load), "{name}: {shares:.2?}");
        }
    }
}

/// Shares by weight times reported weight. What is reported counts from a tenth to ten times the mean of
/// those who report, and as the mean for an endpoint that doesn't; at least two must report.
fn expected_shares(endpoints: &[(u32, Option<(f64, f64)>)]) -> Vec<f64> {
    let reported =
        |report: Option<(f64, f64)>| report.map(|(rate, utilization)| rate / utilization);
    let usable: Vec<_> = endpoints.iter().filter_map(|&(_, report)| reported(report)).collect();
    let mean = usable.iter().sum::<f64>() / usable.len() as f64;
    let share = |&(weight, report): &(u32, Option<(f64, f64)>)| match reported(report) {
        _ if usable.len() < 2 => f64::from(weight),
        None => f64::from(weight) * mean,
        Some(reported) => f64::from(weight) * reported.clamp(mean / 10.0, mean * 10.0),
    };
    let shares: Vec<_> = endpoints.iter().map(share).collect();
    let all: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / all).collect()
}

proptest! {
    #[test]
    fn weighted_round_robin_shares_by_weight_times_reported_weight(
        endpoints in vec(
            (
                prop_oneof![1..=10_u32, Just(1), Just(100)],
                prop::option::weighted(0.8, (1.0..1000.0, 0.05..1.0)),
            ),
            2..20,
        ),
        turn in any::<u32>(),
    ) {
        const PICKS: u32 = 20_000;
        let mut strategy = WeightedRoundRobin::new().blackout(Duration::ZERO).starting_at(turn);
        let of_weight = |&(weight, _): &(u32, _)| Endpoint::new(()).with_weight(weight);
        let named: Vec<_> = endpoints.iter().map(of_weight).collect();
        let candidates = Candidates::for_strategy(&strategy, named.iter().enumerate());
        let now = Instant::now() + MS;
        for (candidate, (_, report)) in candidates.iter().zip(&endpoints) {
            if let Some((rate, utilization)) = *report {
                let report = LoadReport::new().with_requests_per_second(rate);
                candidate.report(&report.with_application_utilization(utilization), now);
            }
        }
        let candidates = candidates.at_time(now);
        let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
        let (mut rng, tried) = (Rng::seeded(1), Tried::none());
        let mut counts = vec![0_u32; endpoints.len()];
        for _ in 0..PICKS {
            let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
            let picked: &Candidate = picker.pick(&(), &mut context).unwrap();
            counts[picked.name().parse::<usize>().unwrap()] += 1;
        }
        for (&count, share) in counts.iter().zip(expected_shares(&endpoints)) {
            let expected = share * f64::from(PICKS);
            let off = (f64::from(count) - expected).abs();
            prop_assert!(off <= 2.0 + 0.01 * expected, "{count}, not {expected:.1}: {counts:?}");
        }
    }
}

/// As its documentation says: a report says how much there is, and nothing tells for how much weight.
#[test]
fn the_pool_of_prequal_ignores_weights() {
    let (weights, tells_latency, probed, seed) = (vec![1, 1, 1, 1, 10, 10, 10, 10], true, true, 1);
    let fleet = Fleet { weights, load: 0.3, tells_latency, probed, seed };
    let probe = |_: &Candidate| ready(Err::<LoadReport, BoxError>("by reports alone".into()));
    let shares = fleet.simulate(Prequal::new(probe));
    let (light, heavy) = shares.split_at(4);
    assert!(light.iter().all(|&share| share > 1.5), "{shares:.2?}");
    assert!(heavy.iter().all(|&share| share < 1.0), "{shares:.2?}");
}

#[test]
fn reports_from_the_future_and_clocks_that_step_back_do_no_harm() {
    let mut strategy = Freshest::default();
    let candidates = candidates(&strategy, 8);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (now, mut rng) = (Instant::now() + MS, Rng::seeded(1));
    for (index, candidate) in candidates.iter().enumerate() {
        candidate.report(&in_flight(index as u32), now + Duration::from_secs(3600));
    }
    let tried = Tried::none();
    for back in [Duration::ZERO, Duration::from_secs(7200)] {
        let now = now.checked_sub(back).unwrap_or(now);
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        assert!(Pick::<()>::pick(&picker, &(), &mut context).is_some());
    }
}

/// A balancer of six endpoints that answer at once, under a strategy with probes.
async fn probed<St>(strategy: St, requests: usize)
where
    St: Strategy<Picker: Pick<u32> + Send + Sync> + Send + 'static,
{
    let service = service_fn(|number: u32| ready(Ok::<_, Infallible>(number)));
    let endpoints = discover::list((0..6).map(|name| (name, Endpoint::new(service))));
    let balancer = Balancer::builder().seed(1).spawn(strategy, endpoints).unwrap();
    for _ in 0..requests {
        balancer.clone().oneshot(1).await.unwrap();
        tokio::task::yield_now().await;
    }
    sleep(MS).await;
}

#[tokio::test(start_paused = true)]
async fn probes_are_a_share_of_the_requests_and_go_to_all() {
    for (rate, expected) in [(0.25, 25), (1.0, 100), (3.0, 300)] {
        let counts: Arc<Vec<AtomicUsize>> = Arc::new((0..6).map(|_| AtomicUsize::new(0)).collect());
        let counted = Arc::clone(&counts);
        let probe = move |endpoint: &Candidate| {
            counted[endpoint.name().parse::<usize>().unwrap()].fetch_add(1, Ordering::Relaxed);
            ready(Ok::<_, BoxError>(in_flight(0)))
        };
        let strategy = Probed::new(probe, Freshest::default()).per_request(rate).unwrap();
        probed(strategy, 100).await;
        let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let sent: usize = counts.iter().sum();
        assert!((expected - 2..=expected).contains(&sent), "{rate}: {counts:?}");
        let (most, least) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(most - least <= 1, "in rounds: {counts:?}");
    }
}

/// Probes that hang are given up, and hold up neither requests nor other probes for long.
#[tokio::test(start_paused = true)]
async fn probes_that_hang_or_fail_are_no_reports() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let hangs = move |_: &Candidate| {
        counted.fetch_add(1, Ordering::Relaxed);
        pending::<Result<LoadReport, BoxError>>()
    };
    let service = service_fn(|number: u32| ready(Ok::<_, Infallible>(number)));
    let endpoints = discover::list((0..6).map(|name| (name, Endpoint::new(service))));
    let strategy = Probed::new(hangs, Freshest::default());
    let balancer = Balancer::builder().spawn(strategy, endpoints).unwrap();
    for _ in 0..200 {
        balancer.clone().oneshot(1).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(sent.load(Ordering::Relaxed), 64, "no more than so many at a time");
    advance(Duration::from_secs(2)).await;
    tokio::task::yield_now().await;
    for _ in 0..10 {
        balancer.clone().oneshot(1).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(sent.load(Ordering::Relaxed) > 64, "the old ones were given up");
    let fails = |_: &Candidate| ready(Err::<LoadReport, BoxError>("refused".into()));
    probed(Probed::new(fails, Freshest::default()), 100).await;
    probed(Prequal::new(fails), 100).await;
}

#[test]
fn nonsense_is_refused() {
    let probe = |_: &Candidate| ready(Ok::<_, BoxError>(in_flight(0)));
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 17.0] {
        let error = Probed::new(probe, Freshest::default()).per_request(rate).unwrap_err();
        assert_eq!(error.field(), "per_request");
        assert!(Prequal::new(probe).per_request(rate).is_err());
    }
    assert!(Prequal::new(probe).quantile(1.1).is_err());
}
