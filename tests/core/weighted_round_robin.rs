//! Weighted round robin by what endpoints report.

use std::{collections::BTreeMap, future::poll_fn, time::Duration};

use futures::FutureExt;
use tokio::time::{Instant, advance};
use tower::service_fn;
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    outcome::LoadReport,
    strategy::{BuildContext, Candidates, Strategy, WeightedRoundRobin},
};
use tower_lb_test_support::picks::{Named, assert_shares, candidates, letter, shares, some};

fn fleet() -> Vec<Named> {
    ['a', 'b', 'c'].into_iter().flat_map(|letter| some(letter, 1, &Endpoint::new(()))).collect()
}

fn load(qps: f64, utilization: f64) -> LoadReport {
    LoadReport::new().with_requests_per_second(qps).with_application_utilization(utilization)
}

fn report(all: &Candidates, name: &str, report: &LoadReport, now: Instant) {
    all.all().filter(|one| one.name().starts_with(name)).for_each(|one| one.report(report, now));
}

struct Rig {
    strategy: WeightedRoundRobin,
    all: Candidates,
    start: Instant,
}

impl Rig {
    fn new(strategy: WeightedRoundRobin) -> Self {
        let all = candidates(&strategy, &fleet());
        Self { strategy, all, start: Instant::now() + Duration::from_secs(1) }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn report(&self, name: &str, what: &LoadReport, seconds: u64) {
        report(&self.all, name, what, self.at(seconds));
    }

    fn shares(&mut self, seconds: u64) -> BTreeMap<String, f64> {
        let all = self.all.clone().at_time(self.at(seconds));
        shares(&self.strategy.build(&all, &mut BuildContext::new()).into_picker(), letter)
    }
}

const THIRD: f64 = 1.0 / 3.0;

#[test]
fn weights_are_rates_over_utilizations_after_the_blackout() {
    let mut rig = Rig::new(WeightedRoundRobin::new());
    for seconds in [0, 12] {
        rig.report("a", &load(100.0, 0.5), seconds);
        rig.report("b", &load(100.0, 0.25), seconds);
        rig.report("c", &load(100.0, 1.0), seconds);
    }
    assert_shares(&rig.shares(9), &[('a', THIRD), ('b', THIRD), ('c', THIRD)]);
    assert_shares(&rig.shares(12), &[('a', 2.0 / 7.0), ('b', 4.0 / 7.0), ('c', 1.0 / 7.0)]);
}

#[test]
fn who_has_no_usable_report_gets_the_mean_and_one_report_alone_says_nothing() {
    let mut rig = Rig::new(WeightedRoundRobin::new().blackout(Duration::ZERO));
    rig.report("a", &load(100.0, 0.5), 0);
    assert_shares(&rig.shares(1), &[('a', THIRD), ('b', THIRD), ('c', THIRD)]);
    rig.report("b", &load(300.0, 0.5), 0);
    for useless in [load(0.0, 0.5), load(5.0, 0.0), load(f64::NAN, 1.0), LoadReport::new()] {
        rig.report("c", &useless, 0);
    }
    assert_shares(&rig.shares(1), &[('a', 1.0 / 6.0), ('b', 0.5), ('c', THIRD)]);
}

#[test]
fn errors_count_as_utilization() {
    let strategy = || WeightedRoundRobin::new().blackout(Duration::ZERO);
    let failing = load(100.0, 0.5).with_errors_per_second(50.0);
    let shares_with = |strategy| {
        let mut rig = Rig::new(strategy);
        rig.report("a", &load(100.0, 0.5), 0);
        rig.report("b", &failing, 0);
        rig.report("c", &load(100.0, 0.5), 0);
        rig.shares(1)
    };
    assert_shares(&shares_with(strategy()), &[('a', 0.4), ('b', 0.2), ('c', 0.4)]);
    let lenient = strategy().error_penalty(0.0).unwrap();
    assert_shares(&shares_with(lenient), &[('a', THIRD), ('b', THIRD), ('c', THIRD)]);
}

#[test]
fn reports_expire_and_the_blackout_begins_anew() {
    let mut rig = Rig::new(WeightedRoundRobin::new());
    let tell = |rig: &Rig, seconds| {
        rig.report("a", &load(100.0, 0.2), seconds);
        rig.report("b", &load(100.0, 0.4), seconds);
        rig.report("c", &load(100.0, 0.4), seconds);
    };
    let (even, uneven) =
        ([('a', THIRD), ('b', THIRD), ('c', THIRD)], [('a', 0.5), ('b', 0.25), ('c', 0.25)]);
    tell(&rig, 0);
    assert_shares(&rig.shares(179), &uneven);
    assert_shares(&rig.shares(181), &even);
    tell(&rig, 200);
    assert_shares(&rig.shares(205), &even);
    assert_shares(&rig.shares(211), &uneven);
}

#[test]
fn weights_stay_within_ten_times_the_mean_and_multiply_those_of_discovery() {
    let strategy = WeightedRoundRobin::new().blackout(Duration::ZERO);
    let mut fleet = fleet();
    fleet[1].1 = Endpoint::new(()).with_weight(3);
    let all = candidates(&strategy, &fleet);
    let now = Instant::now() + Duration::from_secs(1);
    ["a", "b", "c"].iter().for_each(|name| report(&all, name, &load(100.0, 0.5), now));
    let picker =
        strategy.clone().build(&all.clone().at_time(now), &mut BuildContext::new()).into_picker();
    assert_shares(&shares(&picker, letter), &[('a', 0.2), ('b', 0.6), ('c', 0.2)]);

    report(&all, "c", &load(1.0, 1000.0), now);
    let mut strategy = strategy;
    let picker = strategy.build(&all.at_time(now), &mut BuildContext::new()).into_picker();
    let shares = shares(&picker, letter);
    assert!(shares["c"] > 0.015, "a tenth of the mean at the least: {shares:?}");
}

#[tokio::test(start_paused = true)]
async fn new_weights_are_asked_for_when_they_differ() {
    let mut strategy = WeightedRoundRobin::new().blackout(Duration::ZERO);
    let all = candidates(&strategy, &fleet()).at_time(Instant::now());
    let mut events = BuildContext::new();
    let _picker = strategy.build(&all, &mut events);
    let mut asks = || poll_fn(|cx| events.poll_rebuild(cx)).now_or_never() == Some(Some(()));
    assert!(!asks());
    advance(Duration::from_secs(1)).await;
    assert!(!asks());
    report(&all, "a", &load(10.0, 0.5), Instant::now());
    report(&all, "b", &load(20.0, 0.5), Instant::now());
    assert!(!asks(), "not before the second is over");
    advance(Duration::from_secs(1)).await;
    assert!(asks());
}

#[test]
fn nonsense_is_refused_by_name() {
    let error = WeightedRoundRobin::new().error_penalty(f64::NAN).unwrap_err();
    assert_eq!(error.field(), "error_penalty");
    assert_eq!(WeightedRoundRobin::new().expiry(Duration::ZERO).unwrap_err().field(), "expiry");
}

#[tokio::test(start_paused = true)]
async fn reports_may_be_pushed_to_a_balancer() {
    let serve = service_fn(|()| std::future::ready(Ok::<_, std::io::Error>(())));
    let endpoints = discover::list(["a", "b"].map(|name| (name, Endpoint::new(serve))));
    let strategy = WeightedRoundRobin::new().blackout(Duration::ZERO);
    let balancer = Balancer::spawn(strategy, endpoints);
    tokio::task::yield_now().await;
    advance(Duration::from_millis(1)).await;
    assert!(balancer.report("a", &load(300.0, 0.5)));
    assert!(balancer.report("b", &load(100.0, 0.5)));
    assert!(!balancer.report("c", &load(100.0, 0.5)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..400 {
        tower::ServiceExt::oneshot(balancer.clone(), ()).await.unwrap();
    }
    let status = balancer.status();
    let first = status.endpoints.iter().find(|one| &*one.name == "a").unwrap();
    assert!((299..=301).contains(&first.outcomes.success), "{status}");
}
