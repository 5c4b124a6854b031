//! Loads that need more than an endpoint's vitals: ages of requests in flight, classes of requests.

use std::time::Duration;

use tokio::time::Instant;
use tower_lb::{
    endpoint::{Endpoint, Tried},
    load::{HangAware, Load, Now, Outstanding, PeakEwma, PerClass},
    outcome::Outcome,
    strategy::{
        BuildContext, Candidate, Candidates, Classified, LeastLoaded, P2c, Pick, PickContext,
        Rendezvous, Rng, Strategy, TopK,
    },
};

const MS: Duration = Duration::from_millis(1);
const FAST: u32 = 0;
const SLOW: u32 = 1;

fn candidates(strategy: &impl Strategy, count: usize) -> Candidates {
    let endpoints: Vec<_> = (0..count).map(|name| (name, Endpoint::new(()))).collect();
    Candidates::for_strategy(strategy, endpoints.iter().map(|(name, one)| (name, one)))
}

/// Sends a request of 10 ms to each candidate, so that all are measured.
fn warm_up(candidates: &Candidates, start: Instant) {
    for candidate in candidates.iter() {
        candidate.begin(Some(start)).unwrap().finish_at(Outcome::Success, start + 10 * MS);
    }
}

#[test]
fn an_endpoint_that_hangs_is_left_alone_before_any_request_has_timed_out() {
    let mut strategy = P2c::new(HangAware::new(PeakEwma::new()));
    let candidates = candidates(&strategy, 2);
    let start = Instant::now() + MS;
    warm_up(&candidates, start);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let (hung, alive) = (candidates.get(0).unwrap(), candidates.get(1).unwrap());

    // One request hangs at the one, three as old as usual are at the other.
    let before = start + Duration::from_secs(1);
    let _stuck = hung.begin(Some(before)).unwrap();
    let mut now = before;
    let mut rng = Rng::seeded(1);
    let mut pick = |now| {
        let tried = Tried::none();
        picker
            .pick(&(), &mut PickContext::new(&mut rng, Now::at(now), &tried))
            .unwrap()
            .name()
            .to_owned()
    };
    let mut others: Vec<_> = (0..3).map(|_| alive.begin(Some(now)).unwrap()).collect();
    assert_eq!(pick(now), hung.name(), "as long as nothing is strange, it has the shorter line");
    for _ in 0..20 {
        now += 5 * MS;
        others.drain(..).for_each(|attempt| attempt.finish_at(Outcome::Success, now));
        others.extend((0..3).map(|_| alive.begin(Some(now)).unwrap()));
    }
    assert_eq!(pick(now), alive.name(), "its request has been waiting ten times as long as usual");
}

#[test]
fn ages_end_with_their_requests_however_those_end() {
    let strategy = LeastLoaded::new(HangAware::new(PeakEwma::new()));
    let candidates = candidates(&strategy, 1);
    let (start, load) = (Instant::now() + MS, HangAware::new(PeakEwma::new()));
    warm_up(&candidates, start);
    let candidate = candidates.get(0).unwrap();
    let cost = |now| load.score(&candidate.gauge(0), &mut Now::at(now)).cost;
    let attempt = candidate.begin(Some(start)).unwrap();
    let later = start + Duration::from_secs(10);
    assert!((cost(later) - 10.0).abs() < 0.01);
    attempt.finish_at(Outcome::Success, start + 10 * MS);
    assert!(cost(later) < 0.011);
}

#[test]
fn each_endpoint_has_ages_of_its_own_under_every_strategy() {
    fn check(strategy: impl Strategy) {
        let candidates = candidates(&strategy, 2);
        let start = Instant::now() + MS;
        warm_up(&candidates, start);
        let _stuck = candidates.get(0).unwrap().begin(Some(start)).unwrap();
        let load = HangAware::new(PeakEwma::new());
        let mut now = Now::at(start + Duration::from_secs(10));
        let costs =
            [0, 1].map(|index| load.score(&candidates.get(index).unwrap().gauge(0), &mut now).cost);
        assert!(costs[0] > 9.9 && costs[1] < 0.011, "{costs:?}");
    }
    let load = || HangAware::new(PeakEwma::new());
    check(P2c::new(load()));
    check(LeastLoaded::new(load()));
    check(TopK::new(Rendezvous::new(|(): &()| None::<u64>), 2, load()).unwrap());
}

fn of_class(class: &u32) -> u32 {
    *class
}

#[test]
fn a_slow_class_of_requests_does_not_make_an_endpoint_look_slow_for_another() {
    let load = PerClass::new(2, PeakEwma::new()).unwrap();
    let mut strategy = Classified::new(of_class, LeastLoaded::new(load));
    let candidates = candidates(&strategy, 2);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let mut rng = Rng::seeded(2);
    let tried = Tried::none();
    let start = Instant::now() + MS;
    let mut pick = |class: u32, now| -> Candidate {
        let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
        let candidate = picker.pick(&class, &mut context).unwrap().clone();
        assert_eq!(context.class(), class);
        candidate
    };
    // Endpoint 0 is quick at the fast class and slow at the other, endpoint 1 the other way round.
    let took = |candidate: &Candidate, class: u32| match (candidate.name(), class) {
        ("0", FAST) | ("1", SLOW) => 5 * MS,
        _ => 500 * MS,
    };
    let mut now = start;
    let mut right = 0;
    for turn in 0..200 {
        let class = turn % 2;
        let candidate = pick(class, now);
        let attempt = candidate.begin_class(Some(now), class).unwrap();
        let latency = took(&candidate, class);
        attempt.finish_at(Outcome::Success, now + latency);
        right += u32::from(latency == 5 * MS);
        now += MS;
    }
    assert!(right >= 196, "each class finds its endpoint after a request to each: {right} of 200");
}

#[test]
fn the_backlog_of_a_class_counts_the_requests_of_all() {
    let strategy = P2c::new(PerClass::new(2, Outstanding).unwrap());
    let candidates = candidates(&strategy, 1);
    let candidate = candidates.get(0).unwrap();
    let _slow = candidate.begin_class(None, SLOW).unwrap();
    let _unknown = candidate.begin_class(None, 77).unwrap();
    let load = PerClass::new(2, Outstanding).unwrap();
    for class in [FAST, SLOW, 77] {
        assert_eq!(load.score(&candidate.gauge(class), &mut Now::lazy()).backlog, 2.0);
    }
}
