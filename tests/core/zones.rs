//! Zones: preferred by share, by load, taken out and put back.

use std::{collections::BTreeMap, future::poll_fn, time::Duration};

use futures::FutureExt;
use proptest::prelude::*;
use tokio::time::{Instant, advance};
use tower_lb::{
    endpoint::{Endpoint, Health},
    outcome::{LoadReport, Outcome},
    strategy::{
        BuildContext, Candidate, Candidates, CrossZone, LoadAwareZones, P2c, Panic, PanicMode,
        Pick, Random, Rng, Strategy, SubsetBy, ZonalShift, ZonalShiftHandle, ZoneAware,
    },
};
use tower_lb_test_support::picks::{
    Named, assert_shares, candidates, in_zone, letter, pick_after, shares, some, zone_named,
};

/// So many endpoints in each zone: a, b, c.
fn fleet(zones: &[usize]) -> Vec<Named> {
    ('a'..).zip(zones).flat_map(|(zone, &n)| some(zone, n, &in_zone(&zone.to_string()))).collect()
}

fn by_zone<St: Strategy<Picker: Pick<()>>>(
    mut strategy: St,
    endpoints: &[Named],
) -> BTreeMap<String, f64> {
    let candidates = candidates(&strategy, endpoints);
    shares(&strategy.build(&candidates, &mut BuildContext::new()).into_picker(), letter)
}

fn local() -> ZoneAware<Random> {
    ZoneAware::new(zone_named("a"), Random)
}

#[test]
fn requests_stay_where_there_are_enough_endpoints() {
    assert_shares(&by_zone(local(), &fleet(&[4, 4])), &[('a', 1.0)]);
    assert_shares(&by_zone(local(), &fleet(&[5, 4, 3])), &[('a', 1.0)]);
}

#[test]
fn what_the_zone_cannot_take_goes_to_those_with_endpoints_to_spare() {
    // A third of the clients, a sixth of the endpoints: half may stay.
    assert_shares(&by_zone(local(), &fleet(&[2, 5, 5])), &[('a', 0.5), ('b', 0.25), ('c', 0.25)]);
    // One of the others has none to spare.
    assert_shares(&by_zone(local(), &fleet(&[2, 4, 6])), &[('a', 0.5), ('c', 0.5)]);
}

#[test]
fn every_endpoint_gets_the_same_when_all_zones_do_so() {
    let (endpoints, clients) = ([2_usize, 7, 3], [5_u32, 1, 6]);
    let fleet = fleet(&endpoints);
    let zones = ["a", "b", "c"];
    let known = || zones.iter().zip(clients).map(|(zone, count)| (zone_named(zone), count));
    let mut load = BTreeMap::new();
    for (zone, count) in zones.iter().zip(clients) {
        let strategy = ZoneAware::new(zone_named(zone), Random).clients(known());
        for (to, share) in by_zone(strategy, &fleet) {
            *load.entry(to).or_insert(0.0) += share * f64::from(count) / 12.0;
        }
    }
    for (zone, endpoints) in zones.iter().zip(endpoints) {
        let fair = endpoints as f64 / 12.0;
        assert!((load[*zone] - fair).abs() < 0.01, "{load:?}");
    }
}

#[test]
fn zones_are_ignored_with_few_endpoints_or_none_at_home() {
    assert_shares(&by_zone(local(), &fleet(&[2, 3])), &[('a', 0.4), ('b', 0.6)]);
    let few = local().min_endpoints(1).unwrap();
    assert_shares(&by_zone(few, &fleet(&[3, 2])), &[('a', 1.0)]);
    assert_shares(&by_zone(local(), &fleet(&[0, 4, 4])), &[('b', 0.5), ('c', 0.5)]);
    assert!(local().min_endpoints(0).is_err());
}

#[test]
fn endpoints_without_a_zone_are_a_zone_of_their_own() {
    let mut fleet = fleet(&[2, 0]);
    fleet.extend(some('n', 6, &Endpoint::new(())));
    assert_shares(&by_zone(local(), &fleet), &[('a', 0.5), ('n', 0.5)]);
}

#[test]
fn crossing_can_be_forbidden_or_free() {
    let never = || local().cross_zone(CrossZone::Never);
    assert_shares(&by_zone(never(), &fleet(&[1, 9])), &[('a', 1.0)]);
    assert_shares(&by_zone(never(), &fleet(&[0, 9])), &[]);
    let always = local().cross_zone(CrossZone::Always);
    assert_shares(&by_zone(always, &fleet(&[8, 2])), &[('a', 0.8), ('b', 0.2)]);

    // Not even a retry leaves the zone.
    let mut strategy = never();
    let all = candidates(&strategy, &fleet(&[1, 9]));
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_eq!(built.eligible().len(), 1);
    let only = all.get(0).unwrap();
    let picked = pick_after(built.picker(), &[only], &mut Rng::seeded(1), Instant::now()).unwrap();
    assert_eq!(picked.name(), "a0");
}

#[test]
fn a_retry_leaves_the_zone_when_it_has_been_everywhere_in_it() {
    let mut strategy = ZoneAware::new(zone_named("a"), P2c::default()).min_endpoints(1).unwrap();
    let all = candidates(&strategy, &fleet(&[2, 1]));
    let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
    let (mut rng, now) = (Rng::seeded(1), Instant::now());
    let home: Vec<_> = all.iter().filter(|one| one.name().starts_with('a')).collect();
    assert_eq!(pick_after(&picker, &home[..1], &mut rng, now).unwrap().name(), home[1].name());
    assert_eq!(pick_after(&picker, &home, &mut rng, now).unwrap().name(), "b0");
}

proptest! {
    #[test]
    fn no_request_is_lost_whatever_zones_there_are(
        zones in prop::collection::vec((0_usize..4, 0_u32..3), 0..5),
        clients in prop::collection::vec(0_u32..4, 0..5),
        home in 0_usize..6,
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut fleet = Vec::new();
        for ((letter, zone), &(count, weight)) in ('a'..).zip(names).zip(&zones) {
            fleet.extend(some(letter, count, &in_zone(zone).with_weight(weight)));
        }
        let clients = names.iter().zip(clients).map(|(zone, count)| (zone_named(zone), count));
        let mut strategy = ZoneAware::new(zone_named(names[home]), P2c::default())
            .clients(clients)
            .min_endpoints(2)
            .unwrap();
        let all = candidates(&strategy, &fleet);
        let picker = strategy.build(&all, &mut BuildContext::new()).into_picker();
        let mut rng = Rng::seeded(1);
        for _ in 0..50 {
            let picked = pick_after(&picker, &[], &mut rng, Instant::now());
            prop_assert_eq!(picked.is_some(), !all.is_empty());
            prop_assert!(picked.is_none_or(|candidate| candidate.weight() > 0));
        }
    }
}

fn report(candidates: &Candidates, zone: &str, utilization: f64, now: Instant) {
    let report = LoadReport::new().with_application_utilization(utilization);
    for candidate in candidates.all().filter(|one| one.name().starts_with(zone)) {
        candidate.report(&report, now);
    }
}

fn by_load() -> LoadAwareZones<Random> {
    LoadAwareZones::new(zone_named("a"), Random)
}

#[test]
fn requests_stay_until_the_zone_is_hotter_than_the_others() {
    let now = Instant::now() + Duration::from_secs(1);
    let cases: &[([f64; 2], [f64; 2])] = &[
        // Within a tenth of the others all stay but the 3 % that ask how they are.
        ([0.5, 0.45], [0.97, 0.03]),
        ([0.1, 0.9], [0.97, 0.03]),
        // Hotter: in proportion to what is idle.
        ([0.8, 0.4], [0.25, 0.75]),
        ([1.5, 0.4], [0.0, 1.0]),
        // Nobody has anything idle: by size.
        ([2.0, 1.5], [0.5, 0.5]),
    ];
    for (utilization, expected) in cases {
        let mut strategy = by_load();
        let all = candidates(&strategy, &fleet(&[4, 4])).at_time(now);
        report(&all, "a", utilization[0], now);
        report(&all, "b", utilization[1], now);
        let actual = shares(&strategy.build(&all, &mut BuildContext::new()).into_picker(), letter);
        assert_shares(&actual, &[('a', expected[0]), ('b', expected[1])]);
    }
}

#[test]
fn zones_that_report_nothing_or_long_ago_count_as_idle() {
    let now = Instant::now() + Duration::from_secs(1);
    let mut strategy = by_load();
    let all = candidates(&strategy, &fleet(&[4, 4]));
    report(&all, "a", 0.8, now);
    let then = |seconds| all.clone().at_time(now + Duration::from_secs(seconds));
    let actual = shares(&strategy.build(&then(0), &mut BuildContext::new()).into_picker(), letter);
    assert_shares(&actual, &[('a', 0.2 / 1.2), ('b', 1.0 / 1.2)]);
    let actual =
        shares(&strategy.build(&then(181), &mut BuildContext::new()).into_picker(), letter);
    assert_shares(&actual, &[('a', 0.97), ('b', 0.03)]);
}

/// A zone that has become idle says so with a 0, which must replace what it said before.
#[test]
fn a_reported_zero_replaces_what_was_reported_before() {
    let now = Instant::now() + Duration::from_secs(1);
    let mut strategy = by_load();
    let all = candidates(&strategy, &fleet(&[4, 4])).at_time(now);
    report(&all, "a", 0.4, now);
    report(&all, "b", 0.4, now);
    report(&all, "b", 0.0, now);
    let actual = shares(&strategy.build(&all, &mut BuildContext::new()).into_picker(), letter);
    assert_shares(&actual, &[('a', 0.6 / 1.6), ('b', 1.0 / 1.6)]);
}

#[tokio::test(start_paused = true)]
async fn utilization_is_smoothed_and_looked_at_each_second() {
    let mut strategy = by_load();
    let all = candidates(&strategy, &fleet(&[4, 4])).at_time(Instant::now());
    let mut events = BuildContext::new();
    let _picker = strategy.build(&all, &mut events);
    let mut update = || poll_fn(|cx| events.poll_rebuild(cx)).now_or_never();
    assert_eq!(update(), None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(update(), None, "nothing has changed");
    report(&all, "a", 0.9, Instant::now());
    report(&all, "b", 0.1, Instant::now());
    advance(Duration::from_secs(1)).await;
    assert_eq!(update(), Some(Some(())));
    let hot = shares(
        &strategy
            .build(&all.clone().at_time(Instant::now()), &mut BuildContext::new())
            .into_picker(),
        letter,
    );
    assert_shares(&hot, &[('a', 0.1), ('b', 0.9)]);
    // Cool again: after one time constant of 5 s, 0.37 of the difference is left.
    report(&all, "a", 0.1, Instant::now());
    advance(Duration::from_secs(5)).await;
    let idle = 1.0 - (0.1 + 0.8 * (-1.0_f64).exp());
    let cooling = shares(
        &strategy
            .build(&all.clone().at_time(Instant::now()), &mut BuildContext::new())
            .into_picker(),
        letter,
    );
    assert_shares(&cooling, &[('a', idle / (idle + 0.9)), ('b', 0.9 / (idle + 0.9))]);
}

#[tokio::test(start_paused = true)]
async fn a_zone_is_taken_out_by_a_call_and_put_back_gradually() {
    let mut strategy = ZonalShift::new(Random);
    let shift = strategy.handle();
    let all = candidates(&strategy, &fleet(&[2, 2]));
    let mut here = || {
        let (all, mut events) = (all.clone().at_time(Instant::now()), BuildContext::new());
        let built = strategy.build(&all, &mut events);
        (shares(built.picker(), letter), built, events)
    };
    let asks =
        |events: &mut BuildContext| poll_fn(|cx| events.poll_rebuild(cx)).now_or_never().is_some();
    let (by_zone, _, mut events) = here();
    assert_shares(&by_zone, &[('a', 0.5), ('b', 0.5)]);
    assert!(!asks(&mut events));

    shift.shift_away("a");
    shift.shift_away("unheard of");
    assert!(asks(&mut events), "the driver is told");
    let (by_zone, built, mut events) = here();
    assert_shares(&by_zone, &[('b', 1.0)]);
    assert_eq!(built.eligible().len(), 2);
    assert!(!asks(&mut events));
    assert_eq!(built.notices()[0], "zone a is away");

    shift.restore("a", Duration::from_secs(100));
    assert!(asks(&mut events));
    let (by_zone, _, mut events) = here();
    assert_shares(&by_zone, &[('a', 0.01), ('b', 0.99)]);
    assert!(!asks(&mut events));
    advance(Duration::from_secs(50)).await;
    assert!(asks(&mut events), "its share grows");
    let (by_zone, _, mut events) = here();
    assert_shares(&by_zone, &[('a', 1.0 / 3.0), ('b', 2.0 / 3.0)]);
    assert!(!asks(&mut events));
    advance(Duration::from_secs(50)).await;
    assert!(asks(&mut events));
    let (by_zone, _, mut events) = here();
    assert_shares(&by_zone, &[('a', 0.5), ('b', 0.5)]);
    assert!(!asks(&mut events), "it is all over");
    advance(Duration::from_secs(50)).await;
    assert!(!asks(&mut events));
    assert_eq!(shift.zones(), ["unheard of"]);
}

#[tokio::test]
async fn one_call_takes_a_zone_out_of_several_balancers() {
    let shift = ZonalShiftHandle::new();
    let [mut one, mut other] = [(); 2].map(|()| ZonalShift::new(Random).following(&shift));
    let all = candidates(&one, &fleet(&[1, 1]));
    let mut events = [BuildContext::new(), BuildContext::new()];
    let _picker = one.build(&all, &mut events[0]);
    let _picker = other.build(&all, &mut events[1]);
    let mut drivers = events
        .each_mut()
        .map(|events| tokio_test::task::spawn(poll_fn(|cx| events.poll_rebuild(cx))));
    drivers.iter_mut().for_each(|driver| tokio_test::assert_pending!(driver.poll()));
    shift.shift_away("a");
    assert!(drivers.iter().all(|driver| driver.is_woken()));
}

#[tokio::test(start_paused = true)]
async fn the_last_zone_stays_in() {
    let mut strategy = ZonalShift::new(Random);
    let shift = strategy.handle();
    shift.shift_away("a");
    shift.shift_away("b");
    let all = candidates(&strategy, &fleet(&[2, 2])).at_time(Instant::now());
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('a', 0.5), ('b', 0.5)]);
    assert_eq!(built.eligible().len(), 4);
    assert_eq!(built.notices()[0], "zone a is away, but no other endpoint is eligible");
    shift.restore("b", Duration::ZERO);
    let all = all.at_time(Instant::now());
    assert_shares(
        &shares(&strategy.build(&all, &mut BuildContext::new()).into_picker(), letter),
        &[('b', 1.0)],
    );
}

#[test]
fn a_panic_does_not_let_a_zone_in_that_was_taken_out() {
    let mut strategy = ZonalShift::new(Panic::new(Random));
    strategy.handle().shift_away("a");
    let mut fleet = fleet(&[4, 1]);
    fleet.extend(some('B', 3, &in_zone("b").with_health(Health::unhealthy("down"))));
    let all = candidates(&strategy, &fleet);
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('b', 0.25), ('B', 0.75)]);
    assert_eq!(built.eligible().len(), 4);
}

#[test]
fn the_sick_of_a_zone_are_missing_there() {
    let mut fleet = fleet(&[2, 4]);
    fleet.extend(
        some('a', 4, &in_zone("a").with_health(Health::unhealthy("down")))
            .into_iter()
            .map(|(name, endpoint)| (format!("{name}-sick"), endpoint)),
    );
    assert_shares(&by_zone(local(), &fleet), &[('a', 2.0 / 3.0), ('b', 1.0 / 3.0)]);
}

/// Requests that may go to one zone only, or to one tenant's endpoints, have nowhere else to go.
#[test]
fn the_last_zone_of_a_part_stays_in() {
    let shifted = || {
        let shift = ZonalShift::new(Random);
        shift.handle().shift_away("a");
        shift
    };
    let mut never = ZoneAware::new(zone_named("a"), shifted()).cross_zone(CrossZone::Never);
    let all = candidates(&never, &fleet(&[2, 2]));
    let built = never.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('a', 1.0)]);
    assert!(
        built.notices()[0].ends_with("but no other endpoint is eligible"),
        "{:?}",
        built.notices()
    );

    let of = |tenant: &str, zone| in_zone(zone).with_metadata("tenant", tenant);
    let mut fleet = some('a', 2, &of("one", "a"));
    fleet.extend(some('b', 2, &of("two", "a")));
    fleet.extend(some('c', 2, &of("two", "b")));
    let mut subsets = SubsetBy::new(shifted(), ["tenant"], |_: &(), _| Some("one"));
    let all = candidates(&subsets, &fleet);
    let built = subsets.build(&all, &mut BuildContext::new());
    assert_shares(&shares(built.picker(), letter), &[('a', 1.0)]);
    let names: Vec<_> = built.eligible().iter().map(letter).collect();
    assert_eq!(names, ["a", "a", "c", "c"], "tenant two has endpoints in the other zone");
}

/// The fewest failures are those of all zones.
#[test]
fn the_best_of_a_panic_are_the_same_inside_of_zones() {
    let mut fleet = some('a', 2, &in_zone("a").with_health(Health::unhealthy("down")));
    fleet.extend(some('b', 2, &in_zone("b").with_health(Health::unhealthy("down"))));
    let best = || Panic::new(Random).mode(PanicMode::OpenToBest);
    let mut strategy = ZoneAware::new(zone_named("a"), best()).cross_zone(CrossZone::Always);
    let all = candidates(&strategy, &fleet);
    for candidate in all.all().filter(|one| one.name() != "a0") {
        candidate.begin(None).unwrap().finish_at(Outcome::Timeout, Instant::now());
    }
    let built = strategy.build(&all, &mut BuildContext::new());
    assert_eq!(built.eligible().iter().map(Candidate::name).collect::<Vec<_>>(), ["a0"]);
}
