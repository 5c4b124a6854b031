//! Priority tiers, the panic rule, and the first that works.

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Service, service_fn};
use tower_lb::{
    Balancer, Error, discover,
    endpoint::{Endpoint, Health},
    outcome::Outcome,
    strategy::{
        BuildContext, Candidates, P2c, Panic, PanicMode, PickFirst, Random, Rng, Strategy, Tiers,
    },
};
use tower_lb_test_support::picks::{
    Named, assert_shares, candidates, letter, pick_after, shares, some,
};

const MS: Duration = Duration::from_millis(1);

fn tier(number: u32) -> Endpoint<()> {
    Endpoint::new(()).with_tier(number)
}

fn sick(endpoint: Endpoint<()>) -> Endpoint<()> {
    endpoint.with_health(Health::unhealthy("down"))
}

/// So many healthy and unhealthy endpoints in each tier: a in the first, b in the second.
fn fleet(tiers: &[(usize, usize)]) -> Vec<Named> {
    let letters = ('a'..='z').zip(0..).zip(tiers);
    letters
        .flat_map(|((letter, number), &(well, ill))| {
            let mut all = some(letter, well, &tier(number));
            all.extend(some(letter.to_ascii_uppercase(), ill, &sick(tier(number))));
            all
        })
        .collect()
}

fn by_tier<St: Strategy<Picker: tower_lb::strategy::Pick<()>>>(
    mut strategy: St,
    endpoints: &[Named],
) -> std::collections::BTreeMap<String, f64> {
    let candidates = candidates(&strategy, endpoints);
    shares(&strategy.build(&candidates, &mut BuildContext::new()).into_picker(), |candidate| {
        letter(candidate).to_lowercase()
    })
}

#[test]
fn a_tier_spills_what_its_healthy_endpoints_cannot_take() {
    let tiers = || Tiers::new(Random);
    // All the traffic as long as 1.4 times the share that is healthy is 1.
    assert_shares(&by_tier(tiers(), &fleet(&[(10, 0), (10, 0)])), &[('a', 1.0)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(5, 2), (10, 0)])), &[('a', 1.0)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(7, 3), (10, 0)])), &[('a', 0.98), ('b', 0.02)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(5, 5), (10, 0)])), &[('a', 0.7), ('b', 0.3)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(0, 10), (10, 0)])), &[('b', 1.0)]);
    // The second lacks some too.
    let three = &[('a', 0.35), ('b', 0.35), ('c', 0.3)];
    assert_shares(&by_tier(tiers(), &fleet(&[(1, 3), (1, 3), (4, 0)])), three);
}

#[test]
fn tiers_that_cannot_take_the_traffic_share_it_by_what_they_can_take() {
    let fleet = fleet(&[(1, 4), (1, 9)]);
    // 0.28 and 0.14 of the traffic is what they could take.
    assert_shares(&by_tier(Tiers::new(Random), &fleet), &[('a', 2.0 / 3.0), ('b', 1.0 / 3.0)]);
}

#[test]
fn all_or_nothing_stays_with_the_first_tier_that_has_anybody() {
    let tiers = || Tiers::new(Random).all_or_nothing();
    assert_shares(&by_tier(tiers(), &fleet(&[(1, 9), (10, 0)])), &[('a', 1.0)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(0, 9), (1, 9)])), &[('b', 1.0)]);
}

#[test]
fn backups_wait_until_nobody_else_is_left() {
    let tiers = || Tiers::new(Random).backup_from(1);
    let few = fleet(&[(1, 9), (10, 0)]);
    assert_shares(&by_tier(tiers(), &few), &[('a', 1.0)]);
    assert_shares(&by_tier(tiers(), &fleet(&[(0, 9), (10, 0)])), &[('b', 1.0)]);
    // But a request that has been everywhere else may go there.
    let mut strategy = tiers();
    let all = candidates(&strategy, &few);
    let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
    let only = all.iter().find(|candidate| candidate.tier() == 0).unwrap();
    let next = pick_after(&picker, &[only], &mut Rng::seeded(1), Instant::now()).unwrap();
    assert_eq!(next.tier(), 1);
}

#[test]
fn degraded_endpoints_come_after_the_healthy_ones_of_all_tiers() {
    let mut fleet = some('d', 4, &tier(0).with_health(Health::degraded("slow disk")));
    fleet.extend(some('a', 1, &tier(0)));
    fleet.extend(some('b', 1, &tier(1)));
    fleet.extend(some('B', 3, &sick(tier(1))));
    let expected = &[('a', 0.28), ('b', 0.35), ('d', 0.37)];
    assert_shares(&by_tier(Tiers::new(Random), &fleet), expected);
}

#[test]
fn weights_can_be_the_measure_and_leavers_are_no_loss() {
    let mut fleet = some('a', 1, &tier(0).with_weight(3));
    fleet.extend(some('A', 3, &sick(tier(0))));
    fleet.extend(some('b', 2, &tier(1)));
    assert_shares(&by_tier(Tiers::new(Random), &fleet), &[('a', 0.35), ('b', 0.65)]);
    let by_weight = Tiers::new(Random).by_weight();
    assert_shares(&by_tier(by_weight, &fleet), &[('a', 0.7), ('b', 0.3)]);

    let mut leaving = some('a', 1, &tier(0));
    leaving.extend(some('x', 9, &tier(0).with_health(Health::draining("deploy"))));
    leaving.extend(some('y', 9, &tier(0).with_weight(0)));
    leaving.extend(some('b', 2, &tier(1)));
    assert_shares(&by_tier(Tiers::new(Random), &leaving), &[('a', 1.0)]);
}

#[test]
fn tiers_may_have_gaps_and_be_none() {
    let mut fleet = some('a', 2, &tier(7));
    fleet.extend(some('b', 2, &tier(u32::MAX)));
    assert_shares(&by_tier(Tiers::new(Random), &fleet), &[('a', 1.0)]);
    assert_shares(&by_tier(Tiers::new(Random), &[]), &[]);
    let all_sick = some('a', 3, &sick(tier(2)));
    assert_shares(&by_tier(Tiers::new(Random), &all_sick), &[]);
}

proptest! {
    /// Nobody who isn't eligible is picked, somebody is if anybody is eligible, and shares add up.
    #[test]
    fn tiers_lose_no_request(
        tiers in prop::collection::vec((0_usize..4, 0_usize..4, 0_u32..5), 0..6),
        all_or_nothing: bool,
        backup in prop::option::of(0_u32..5),
    ) {
        let mut fleet = Vec::new();
        for (letter, &(well, ill, number)) in ('a'..).zip(&tiers) {
            fleet.extend(some(letter, well, &tier(number)));
            fleet.extend(some(letter.to_ascii_uppercase(), ill, &sick(tier(number))));
        }
        let mut strategy = Tiers::new(P2c::default());
        if all_or_nothing {
            strategy = strategy.all_or_nothing();
        }
        if let Some(from) = backup {
            strategy = strategy.backup_from(from);
        }
        let all = candidates(&strategy, &fleet);
        let built = strategy.build(&all, &mut BuildContext::new());
        prop_assert_eq!(built.eligible().len(), all.len());
        let mut rng = Rng::seeded(3);
        for _ in 0..100 {
            let picked = pick_after(built.picker(), &[], &mut rng, Instant::now());
            prop_assert_eq!(picked.is_some(), !all.is_empty());
            prop_assert!(picked.is_none_or(|candidate| candidate.is_eligible()));
        }
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    for factor in [0.99, -1.0, f64::NAN, f64::INFINITY] {
        let error = Tiers::new(Random).overprovisioning(factor).unwrap_err();
        assert_eq!(error.field(), "overprovisioning");
        assert_eq!(error.expected(), "a finite number of at least 1");
    }
    for share in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Panic::new(Random).below_share(share).unwrap_err().field(), "threshold");
    }
    assert!(Panic::new(Random).below_count(0).is_err());
}

fn panic(mode: PanicMode) -> Panic<Random> {
    Panic::new(Random).mode(mode)
}

#[test]
fn with_fewer_than_half_left_the_rule_opens_to_all_but_those_who_leave() {
    let mut fleet = fleet(&[(4, 5)]);
    fleet.extend(some('x', 3, &tier(0).with_health(Health::draining("deploy"))));
    fleet.extend(some('y', 3, &sick(tier(0)).with_weight(0)));
    let mut strategy = panic(PanicMode::OpenToAll);
    let all = candidates(&strategy, &fleet);
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('a', 4.0 / 9.0), ('A', 5.0 / 9.0)]);
    assert_eq!(built.eligible().len(), 9);
    let notice = "panic: 4 of 9 endpoints eligible, requests go to all";
    assert_eq!(built.notices(), [notice]);

    // One more, and it is over.
    fleet.extend(some('b', 1, &tier(0)));
    let all = candidates(&strategy, &fleet);
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('a', 0.8), ('b', 0.2)]);
    assert!(built.notices().is_empty());
}

#[test]
fn the_best_are_those_with_the_fewest_failures_in_a_row() {
    let mut strategy = panic(PanicMode::OpenToBest);
    let all = candidates(&strategy, &fleet(&[(1, 3)]));
    let start = Instant::now();
    for (failures, candidate) in (1..).zip(all.all().filter(|one| !one.is_eligible())) {
        for _ in 0..failures {
            candidate.begin(None).unwrap().finish_at(Outcome::Timeout, start);
        }
    }
    let by_name =
        shares(&strategy.build(&all, &mut BuildContext::new()).into_picker(), |candidate| {
            candidate.name().to_owned()
        });
    assert_eq!(by_name.keys().collect::<Vec<_>>(), ["A0", "a0"]);
}

#[test]
fn closed_means_closed() {
    let mut strategy = panic(PanicMode::Closed);
    let all = candidates(&strategy, &fleet(&[(1, 3)]));
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[]);
    assert!(built.eligible().is_empty());
}

#[test]
fn a_tier_does_not_panic_while_others_can_take_over() {
    let spilling = fleet(&[(4, 6), (10, 0)]);
    let exactly = |fleet: &[Named]| {
        let mut strategy = Tiers::new(Panic::new(Random));
        let all = candidates(&strategy, fleet);
        let built = strategy.build(&all, &mut BuildContext::new());
        (shares(built.picker(), letter), built.notices().to_vec())
    };
    assert_shares(&exactly(&spilling).0, &[('a', 0.56), ('b', 0.44)]);

    let short = fleet(&[(1, 9), (1, 9)]);
    let (by_letter, notices) = exactly(&short);
    let expected = &[('a', 0.05), ('A', 0.45), ('b', 0.05), ('B', 0.45)];
    assert_shares(&by_letter, expected);
    assert_eq!(notices.len(), 3, "{notices:?}");

    let gone = fleet(&[(0, 4), (0, 4)]);
    assert_shares(&exactly(&gone).0, &[('A', 1.0)]);
}

#[tokio::test]
async fn a_balancer_that_opens_to_all_is_ready_though_nobody_is_healthy() {
    let serve = |name: &'static str| {
        service_fn(move |()| std::future::ready(Ok::<_, std::io::Error>(name)))
    };
    let down = || Health::unhealthy("check failed");
    let endpoints = || {
        discover::list(
            ["a", "b"].map(|name| (name, Endpoint::new(serve(name)).with_health(down()))),
        )
    };
    let (mut open, driver) = Balancer::new(Panic::new(P2c::default()), endpoints());
    assert!(driver.now_or_never().is_some(), "the list has ended");
    std::future::poll_fn(|cx| open.poll_ready(cx)).now_or_never().unwrap().unwrap();
    assert!(open.call(()).await.is_ok());
    let status = open.status().to_string();
    assert!(status.contains("strategy: panic: 0 of 2 endpoints eligible"), "{status}");

    let closed = Panic::new(P2c::default()).mode(PanicMode::Closed);
    let builder = Balancer::builder().fail_fast(Duration::ZERO);
    let (mut closed, driver) = builder.build(closed, endpoints()).unwrap();
    assert!(driver.now_or_never().is_some());
    let ready = std::future::poll_fn(|cx| Service::<()>::poll_ready(&mut closed, cx));
    assert!(
        matches!(ready.now_or_never(), Some(Err(Error::Unavailable(_)))),
        "and it will stay so"
    );
}

#[test]
fn the_first_that_works_gets_everything() {
    let mut fleet = some('b', 2, &tier(0));
    fleet.extend(some('c', 1, &tier(1).with_weight(9)));
    fleet.extend(some('a', 1, &tier(0).with_weight(2)));
    let mut strategy = PickFirst::new();
    let all = candidates(&strategy, &fleet);
    let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
    let (mut rng, start) = (Rng::seeded(1), Instant::now() + MS);
    let at = |rng: &mut Rng, now| pick_after(&picker, &[], rng, now).unwrap().clone();
    let first = at(&mut rng, start);
    assert_eq!(first.name(), "a0", "the heaviest of the first tier");

    // It fails three times: the next in line, by name.
    for _ in 0..3 {
        at(&mut rng, start).begin(Some(start)).unwrap().finish_at(Outcome::TransportFailure, start);
    }
    assert_eq!(at(&mut rng, start).name(), "b0");
    assert_eq!(pick_after(&picker, &[&first], &mut rng, start).unwrap().name(), "b0");

    // Later one request goes there, and only one.
    let later = start + Duration::from_secs(4);
    assert_eq!(at(&mut rng, later).name(), "a0");
    let probe = at(&mut rng, later).begin(Some(later)).unwrap();
    assert_eq!(at(&mut rng, later).name(), "b0");
    probe.finish_at(Outcome::Success, later + MS);
    let back = (1..4).find(|_| {
        let attempt = at(&mut rng, later).begin(Some(later)).unwrap();
        let more = at(&mut rng, later);
        attempt.finish_at(Outcome::Success, later + MS);
        more.name() == "a0"
    });
    assert!(back.is_some(), "a few successes, and it has everything again");
}

/// It looks at the first more than at the others, so what that fails is no sign that all do.
#[test]
fn a_first_that_fails_most_of_the_time_is_not_excused() {
    let mut strategy = PickFirst::new();
    let all = candidates(&strategy, &some('a', 2, &tier(0)));
    let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
    let (mut rng, start) = (Rng::seeded(1), Instant::now() + MS);
    let mut to_the_first = 0;
    for n in 0..10_000 {
        let now = start + n * MS;
        let picked = pick_after(&picker, &[], &mut rng, now).unwrap().clone();
        let fails = picked.name() == "a0" && rng.unit() < 0.8;
        to_the_first += u32::from(picked.name() == "a0");
        let outcome = if fails { Outcome::ApplicationError } else { Outcome::Success };
        picked.begin(Some(now)).unwrap().finish_at(outcome, now);
    }
    assert!(to_the_first < 200, "{to_the_first} of 10 000");
}

#[test]
fn without_anybody_that_works_the_first_is_as_good_as_any() {
    let fleet = some('a', 3, &tier(0));
    let mut strategy = PickFirst::default();
    let all: Candidates = candidates(&strategy, &fleet);
    let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
    let now = Instant::now();
    for candidate in all.iter() {
        for _ in 0..10 {
            candidate.begin(Some(now)).unwrap().finish_at(Outcome::TransportFailure, now);
        }
    }
    assert_eq!(pick_after(&picker, &[], &mut Rng::seeded(1), now).unwrap().name(), "a0");
    let none = strategy.build(&candidates(&strategy, &[]), &mut BuildContext::new()).into_picker();
    assert!(pick_after(&none, &[], &mut Rng::seeded(1), now).is_none());
}
