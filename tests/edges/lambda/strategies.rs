//! What the strategies for functions promise, in virtual time.
use std::time::Duration;

use crate::simulated_functions::{Counts, FUNCTION, Function, MS, STAYS, simulate};
use futures::FutureExt;
use tokio::time::Instant;
use tower::Service;
use tower_lb::{
    Balancer, Error, discover,
    endpoint::{Allowance, Endpoint, Tried},
    lambda::{Aimd, CostAware, Pack, Price, Throttles},
    load::Now,
    outcome::Outcome,
    strategy::{
        BuildContext, Candidate, Candidates, LeastLoaded, P2c, Pick, PickContext, PickFirst, Rng,
        RoundRobin, Strategy, SubsetBy, Tiers,
    },
};

const MINUTE: Duration = Duration::from_secs(60);

/// Five functions that take half a second; six hours of traffic, by turns half an hour with 10
/// requests a second and half an hour with one in 20 seconds.
fn cold_starts<St: Strategy<Picker: Pick<()>>>(strategy: St) -> f64 {
    let swing = |now: Duration| if now.as_secs() / 1800 % 2 == 0 { 10.0 } else { 0.05 };
    let function = Function { latency: 500 * MS, ..FUNCTION };
    let counts = simulate(strategy, &[function; 5], 360 * MINUTE, swing);
    let requests: u32 = counts.requests.iter().sum();
    f64::from(counts.cold_starts) / f64::from(requests)
}

#[test]
fn packing_starts_fewer_environments_than_spreading() {
    let pack = cold_starts(Pack::new().warm_for(STAYS));
    let spread = [
        ("round robin", cold_starts(RoundRobin::starting_at(0))),
        ("p2c", cold_starts(P2c::default())),
        ("least loaded", cold_starts(LeastLoaded::default())),
    ];
    println!("cold starts: pack {:.3} %", pack * 100.0);
    for (name, spread) in spread {
        println!("cold starts: {name} {:.3} %", spread * 100.0);
        assert!(pack * 1.5 < spread, "{name}: {spread:.5}, packed {pack:.5}");
    }
}

#[test]
fn packed_traffic_goes_elsewhere_when_there_is_no_room() {
    let functions = [Function { room: 4, ..FUNCTION }, FUNCTION];
    let strategy = Aimd::new(Pack::new());
    let counts = simulate(strategy, &functions, MINUTE, |_| 200.0);
    let all: u32 = counts.requests.iter().sum();
    // Until it is known how much they take.
    assert!(counts.refused < 50, "{} of {all} refused", counts.refused);
    assert!(counts.throttled * 20 < all, "{} of {all} throttled", counts.throttled);
}

/// The one that is packed on begins to fail at once, to throttle, or to hang. The others get what comes then.
#[test]
fn packed_traffic_leaves_an_endpoint_that_dies() {
    let throttled = Outcome::Overload { retry_after: None };
    let (failed, late) = (Outcome::ApplicationError, Outcome::Timeout);
    let given_up = Outcome::Cancelled;
    for outcome in [Some(failed), Some(throttled), Some(late), Some(given_up), None] {
        for gap in [10 * MS, Duration::from_secs(20)] {
            let mut strategy = Pack::new();
            let endpoints: Vec<_> = (0..2).map(Endpoint::new).collect();
            let candidates =
                Candidates::for_strategy(&strategy, endpoints.iter().map(|e| (e.target(), e)));
            let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
            let (mut now, mut rng, tried) = (Instant::now(), Rng::seeded(7), Tried::none());
            let (mut favoured, mut lost, mut hung) = (None, 0, Vec::new());
            for number in 0..1100 {
                now += gap;
                let mut context = PickContext::new(&mut rng, Now::at(now), &tried);
                let picked = picker.pick(&(), &mut context).unwrap();
                let attempt = picked.begin(Some(now)).unwrap();
                if number < 100 {
                    favoured = Some(picked.name().to_owned());
                } else if favoured.as_deref() == Some(picked.name()) {
                    lost += 1;
                    match &outcome {
                        Some(outcome) => attempt.finish_at(outcome.clone(), now + MS),
                        None => hung.push(attempt),
                    }
                    continue;
                }
                attempt.finish_at(Outcome::Success, now + MS);
            }
            println!("{outcome:?} each {gap:?}: {lost} of 1000 lost");
            assert!(lost < 20, "{outcome:?} each {gap:?}: {lost} of 1000 lost");
        }
    }
}

/// Both take 5 at once, and get as much as 6 at once would be: what is too much is turned away
/// here, and hardly anything is throttled there.
#[test]
fn throttled_functions_are_approached_and_not_hammered() {
    let functions = [Function { room: 5, ..FUNCTION }; 2];
    let without = simulate(LeastLoaded::default(), &functions, MINUTE, |_| 240.0);
    let with = simulate(Aimd::new(LeastLoaded::default()), &functions, MINUTE, |_| 240.0);
    let served = |counts: &Counts| counts.requests.iter().sum::<u32>() - counts.throttled;
    println!("without: {} throttled of {}", without.throttled, served(&without));
    println!(
        "with: {} throttled, {} refused, {} served",
        with.throttled,
        with.refused,
        served(&with)
    );
    assert!(with.throttled * 4 < without.throttled);
    assert!(f64::from(served(&with)) > 0.8 * f64::from(served(&without)));
}

/// The first takes 10 at once, and is offered twice that: the second gets what is too much, before it
/// is throttled.
#[test]
fn what_is_too_much_for_one_tier_spills_into_the_next() {
    let functions = [Function { room: 10, ..FUNCTION }, Function { tier: 1, ..FUNCTION }];
    let counts =
        simulate(Tiers::new(Aimd::new(LeastLoaded::default())), &functions, MINUTE, |_| 400.0);
    let all: u32 = counts.requests.iter().sum();
    let share = f64::from(counts.requests[0]) / f64::from(all);
    println!("{:.1} % at home, {} of {all} throttled", share * 100.0, counts.throttled);
    // The limit of the second has yet to grow.
    assert!(counts.refused * 100 < all, "{} refused", counts.refused);
    assert!(counts.throttled * 50 < all, "{} of {all} throttled", counts.throttled);
    assert!((0.3..0.5).contains(&share), "{share}");
}

fn prices(prices: [f64; 2]) -> impl Fn(&Candidate) -> Price {
    move |candidate| {
        let index: usize = candidate.name().parse().unwrap();
        Price::new().per_gb_second(prices[index]).memory_mb(1024)
    }
}

/// The share of the first of two functions.
fn share<St: Strategy<Picker: Pick<()>>>(strategy: St, functions: [Function; 2]) -> f64 {
    let counts = simulate(strategy, &functions, 60 * MINUTE, |_| 20.0);
    f64::from(counts.requests[0]) / f64::from(counts.requests.iter().sum::<u32>())
}

#[test]
fn the_cheaper_function_gets_the_requests() {
    let same = share(CostAware::new(prices([1.0, 2.0])), [FUNCTION; 2]);
    assert!(same > 0.95, "{same}");
    // A second costs half as much, and it takes four times as long.
    let slow = Function { latency: 200 * MS, ..FUNCTION };
    let slow_one = share(CostAware::new(prices([1.0, 2.0])), [slow, FUNCTION]);
    assert!(slow_one < 0.05, "{slow_one}");
    // It is cheaper by far, but waiting for it is not.
    let cheap_one = share(CostAware::new(prices([1.0, 10.0])), [slow, FUNCTION]);
    assert!(cheap_one > 0.95, "{cheap_one}");
    let hurried =
        share(CostAware::new(prices([1.0, 10.0])).waiting(20.0).unwrap(), [slow, FUNCTION]);
    assert!(hurried < 0.1, "{hurried}");
}

#[test]
fn a_cheap_function_that_fails_is_not_cheap() {
    let broken = Function { fails: true, latency: MS, ..FUNCTION };
    let share = share(CostAware::new(prices([1.0, 2.0])), [broken, FUNCTION]);
    assert!(share < 0.05, "{share}");
}

#[test]
fn prices_that_are_none_do_no_harm() {
    for price in [0.0, f64::NAN, -1.0, f64::INFINITY] {
        let strategy = CostAware::new(prices([price, price]));
        let counts = simulate(strategy, &[FUNCTION; 2], MINUTE, |_| 20.0);
        assert!(counts.requests.iter().sum::<u32>() > 1000);
    }
    for waiting in [f64::NAN, -1.0, f64::INFINITY] {
        assert!(CostAware::new(prices([1.0; 2])).waiting(waiting).is_err());
    }
}

#[test]
fn where_any_cost_is_too_much_the_quicker_function_still_gets_the_requests() {
    let slow = Function { latency: 200 * MS, ..FUNCTION };
    let hurried = CostAware::new(prices([1.0, 1.0])).waiting(1e100).unwrap();
    let dear = CostAware::new(prices([f64::INFINITY; 2]));
    for (name, strategy) in [("hurried", hurried), ("dear", dear)] {
        let share = share(strategy, [slow, FUNCTION]);
        assert!(share < 0.1, "{name}: {share}");
    }
}

#[test]
fn a_pick_allocates_nothing() {
    fn check<St: Strategy<Picker: Pick<()>>>(name: &str, mut strategy: St) {
        let endpoints: Vec<_> = (0..20).map(Endpoint::new).collect();
        let candidates =
            Candidates::for_strategy(&strategy, endpoints.iter().map(|e| (e.target(), e)));
        let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
        let (mut rng, tried) = (Rng::seeded(7), Tried::none());
        let mut request = || {
            let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
            let picked = picker.pick(&(), &mut context).unwrap();
            picked.begin(Some(Instant::now())).unwrap().finish(Outcome::Success);
        };
        request();
        let cost = allocation_counter::measure(|| (0..1000).for_each(|_| request()));
        assert_eq!(cost.count_total, 0, "{name}");
    }
    check("pack", Pack::new());
    check("aimd", Aimd::new(P2c::default()));
    check("cost", CostAware::new(prices_of_all).waiting(1.0).unwrap());
    check("steered", Throttles::new().avoid_throttled(P2c::default()));
}

#[test]
fn picks_keep_to_the_laws() {
    fn check<St: Strategy<Picker: Pick<()>>>(name: &str, mut strategy: St) {
        let mut rng = Rng::seeded(7);
        let mut pick = |weights: &[u32], tried: &[usize]| {
            let endpoints: Vec<Endpoint<usize>> = (0..)
                .zip(weights)
                .map(|(n, &weight)| Endpoint::new(n).with_weight(weight))
                .collect();
            let candidates =
                Candidates::for_strategy(&strategy, endpoints.iter().map(|e| (e.target(), e)));
            let mut been = Tried::none();
            tried.iter().for_each(|&index| been.add(endpoints[index].stats()));
            let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
            let mut context = PickContext::new(&mut rng, Now::lazy(), &been);
            picker.pick(&(), &mut context).map(|picked| picked.name().parse::<usize>().unwrap())
        };
        assert_eq!(pick(&[], &[]), None, "{name}");
        assert_eq!(pick(&[0, 0], &[]), None, "{name}");
        for _ in 0..50 {
            assert_eq!(pick(&[0, 1, 0], &[]), Some(1), "{name}");
            assert_eq!(pick(&[1, 1, 1], &[0, 2]), Some(1), "{name}");
            assert!(pick(&[1, 1], &[0, 1]).is_some(), "{name}: a preference, never a veto");
        }
    }
    check("pack", Pack::new());
    check("aimd", Aimd::new(P2c::default()));
    check("cost", CostAware::new(prices_of_all));
    check("steered", Throttles::new().avoid_throttled(P2c::default()));
}

fn prices_of_all(_: &Candidate) -> Price {
    Price::new().per_request(1.0).per_gb_second(1.0).memory_mb(128)
}

/// The endpoint that the request names is at its limit. Others are no use to it.
#[test]
fn an_endpoint_at_its_limit_sends_nothing_where_the_request_may_not_go() {
    fn wanted<'a>(request: &'a &'static str, _label: &str) -> Option<&'a str> {
        Some(request)
    }
    let by_version = SubsetBy::new(RoundRobin::starting_at(0), ["version"], wanted);
    let mut strategy = Aimd::new(by_version).initial(1).unwrap();
    let endpoints = [("a1", "a"), ("b1", "b"), ("a2", "a")]
        .map(|(name, version)| (name, Endpoint::new(()).with_metadata("version", version)));
    let named = endpoints.iter().map(|(name, endpoint)| (name, endpoint));
    let candidates = Candidates::for_strategy(&strategy, named);
    let picker = strategy.build(&candidates, &mut BuildContext::new()).into_picker();
    let mut rng = Rng::seeded(1);
    let mut in_flight = Vec::new();
    let mut pick = |version| {
        let tried = Tried::none();
        let mut context = PickContext::new(&mut rng, Now::lazy(), &tried);
        let picked = picker.pick(&version, &mut context)?;
        in_flight.push(picked.begin(Some(Instant::now())).unwrap());
        Some(picked.name().to_owned())
    };
    let mut of_a = [pick("a"), pick("a")];
    of_a.sort();
    assert_eq!(of_a.map(Option::unwrap), ["a1", "a2"]);
    assert_eq!(pick("a"), None, "both are at their limits");
    assert_eq!(pick("b").as_deref(), Some("b1"));
}

/// One endpoint is full and the other at its limit. Nothing would tell a request that waits when the
/// limit allows more.
#[tokio::test(start_paused = true)]
async fn a_request_that_a_limit_keeps_out_does_not_wait_for_another_endpoint() {
    let hangs =
        || tower::service_fn(|()| std::future::pending::<Result<(), std::convert::Infallible>>());
    let spent = Endpoint::new(hangs()).with_allowance(Allowance::of(0)).with_tier(1);
    let strategy = Tiers::new(Aimd::new(PickFirst::new()).initial(1).unwrap());
    let endpoints = [("a", Endpoint::new(hangs())), ("spent", spent)];
    let (mut balancer, driver) = Balancer::new(strategy, discover::list(endpoints));
    driver.await;
    let _first = balancer.call(());
    let second = balancer.call(()).now_or_never();
    assert!(matches!(second, Some(Err(Error::Refused { .. }))), "{second:?}");
}
