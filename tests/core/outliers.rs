//! Outlier detection: who is ejected for what, for how long, and how they come back.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    task::Context,
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::advance;
use tower_lb::{
    ConfigError,
    discover::{self, Handle},
    endpoint::{Endpoint, Health},
    health::{
        FailureShare, HealthExt, LatencyOutliers, OutlierDetected, OutlierDetection, Stalls,
        SuccessRate,
    },
    outcome::Outcome,
};
use tower_lb_test_support::{Watched, flag};

type Fleet = Watched<OutlierDetected<discover::Channel<usize, ()>>>;

const SECOND: Duration = Duration::from_secs(1);

/// Only rows of failures count, nothing is left to chance.
fn rows_only() -> OutlierDetection {
    OutlierDetection::new()
        .success_rate(None)
        .failure_share(None)
        .latency(None)
        .stalls(None)
        .jitter(0.0)
}

fn fleet(endpoints: usize, detection: OutlierDetection) -> (Handle<usize, ()>, Fleet) {
    let (handle, stream) = discover::channel();
    handle.reset((0..endpoints).map(|key| (key, ()))).unwrap();
    let mut fleet = Watched::new(stream.outlier_detected(detection).unwrap());
    fleet.settle();
    (handle, fleet)
}

const FAILED: Outcome = Outcome::ApplicationError;
const BUSY: Outcome = Outcome::Overload { retry_after: None };

fn send(fleet: &mut Fleet, endpoint: usize, outcomes: impl IntoIterator<Item = Outcome>) {
    outcomes.into_iter().for_each(|outcome| fleet.request(&endpoint).finish(outcome));
    fleet.settle();
}

fn is_out(fleet: &Fleet, endpoint: usize) -> bool {
    !fleet.endpoint(&endpoint).is_eligible()
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_eject_at_once_and_each_kind_has_its_own_row() {
    let (_handle, mut fleet) = fleet(4, rows_only());
    send(&mut fleet, 0, [FAILED, FAILED, FAILED, FAILED, Outcome::Success]);
    send(&mut fleet, 0, [FAILED, FAILED, FAILED, FAILED]);
    // Neither of these ends the row, or adds to it.
    send(&mut fleet, 0, [BUSY, Outcome::Cancelled, Outcome::TransportFailure, Outcome::Timeout]);
    assert!(!is_out(&fleet, 0));
    send(&mut fleet, 0, [FAILED]);
    assert_eq!(
        fleet.endpoint(&0).health().reason(),
        Some("ejected for 30.0s: 5 consecutive failed responses")
    );
    // An answer, be it a bad one, ends the row of those without.
    let refused = Outcome::TransportFailure;
    send(&mut fleet, 1, vec![refused.clone(); 4]);
    send(&mut fleet, 1, [FAILED]);
    send(&mut fleet, 1, vec![Outcome::Timeout; 4]);
    assert!(!is_out(&fleet, 1));
    send(&mut fleet, 1, [refused]);
    assert!(is_out(&fleet, 1));
}

/// The request that crosses a threshold wakes whoever polls the stream; no tick is waited for.
#[tokio::test(start_paused = true)]
async fn the_last_failure_of_a_row_wakes_the_driver() {
    let (_handle, mut fleet) = fleet(3, rows_only());
    let (woken, waker) = flag();
    let mut cx = Context::from_waker(&waker);
    assert!(fleet.poll(&mut cx).is_pending());
    (0..4).for_each(|_| fleet.request(&0).finish(FAILED));
    assert!(!woken.load(Ordering::SeqCst));
    fleet.request(&0).finish(FAILED);
    assert!(woken.load(Ordering::SeqCst));
    fleet.settle();
    assert!(is_out(&fleet, 0));
    advance(30 * SECOND).await;
    fleet.settle();
    woken.store(false, Ordering::SeqCst);
    assert!(fleet.poll(&mut cx).is_pending());
    fleet.request(&0).finish(Outcome::Success);
    assert!(woken.load(Ordering::SeqCst), "so does the verdict of a trial");
}

#[tokio::test(start_paused = true)]
async fn overload_and_cancellation_never_eject() {
    let detection = OutlierDetection::new();
    let (_handle, mut fleet) = fleet(6, detection);
    for _ in 0..5 {
        send(&mut fleet, 0, vec![BUSY; 300]);
        send(&mut fleet, 1, vec![Outcome::Cancelled; 300]);
        (2..6).for_each(|endpoint| send(&mut fleet, endpoint, vec![Outcome::Success; 300]));
        advance(10 * SECOND).await;
        fleet.settle();
    }
    assert!((0..6).all(|endpoint| !is_out(&fleet, endpoint)));
}

#[tokio::test(start_paused = true)]
async fn one_request_decides_whether_it_is_back() {
    let (_handle, mut fleet) = fleet(3, rows_only());
    let stale = fleet.request(&0);
    send(&mut fleet, 0, vec![FAILED; 5]);
    advance(30 * SECOND).await;
    fleet.settle();

    assert!(!is_out(&fleet, 0), "on trial");
    assert_eq!(fleet.endpoint(&0).allowance().unwrap().left(), 1);
    let trial = fleet.request(&0);
    assert!(fleet.try_request(&0).is_none(), "one request, and no other");

    // A request that was sent before has no say, and one that was given up neither.
    stale.finish(FAILED);
    fleet.settle();
    assert!(!is_out(&fleet, 0));
    drop(trial);
    fleet.settle();

    // A failure is the verdict: out for twice the time.
    fleet.request(&0).finish(FAILED);
    fleet.settle();
    let reason = fleet.endpoint(&0).health().reason().map(str::to_owned);
    assert_eq!(reason.as_deref(), Some("ejected for 60.0s: it has failed the trial"));
    advance(59 * SECOND).await;
    fleet.settle();
    assert!(is_out(&fleet, 0));
    advance(SECOND).await;
    fleet.settle();

    // A success is the verdict: everything is as it was.
    fleet.request(&0).finish(Outcome::Success);
    fleet.settle();
    assert_eq!(fleet.endpoint(&0).health(), &Health::Healthy);
    assert!(fleet.endpoint(&0).allowance().is_none());
    send(&mut fleet, 0, vec![FAILED; 4]);
    assert!(!is_out(&fleet, 0));
    send(&mut fleet, 0, [FAILED]);
    assert!(is_out(&fleet, 0), "as many failures as the first time");
}

/// Callers that look at the head of a response only: nothing but failures has another outcome.
#[tokio::test(start_paused = true)]
async fn responses_that_began_well_and_are_not_read_count_as_successes() {
    let (_handle, mut fleet) = fleet(3, rows_only().failure_share(FailureShare::default()));
    let unread = |fleet: &Fleet| {
        let mut request = fleet.request(&0);
        request.first_byte();
    };
    advance(SECOND).await;
    for _ in 0..25 {
        (0..4).for_each(|_| fleet.request(&0).finish(FAILED));
        (0..8).for_each(|_| unread(&fleet));
        fleet.settle();
    }
    advance(10 * SECOND).await;
    fleet.settle();
    assert!(!is_out(&fleet, 0), "a third of 300 failed, and never five in a row");
    send(&mut fleet, 0, vec![FAILED; 5]);
    advance(30 * SECOND).await;
    fleet.settle();
    unread(&fleet);
    fleet.settle();
    assert!(fleet.endpoint(&0).allowance().is_none(), "the trial is passed");
}

#[tokio::test(start_paused = true)]
async fn ejection_times_grow_with_repetition_to_a_maximum_and_shrink_with_good_behaviour() {
    let detection = rows_only().trial(false).ejection_time(30 * SECOND, 70 * SECOND);
    let (_handle, mut fleet) = fleet(3, detection);
    let out_for = |fleet: &mut Fleet| {
        send(fleet, 0, vec![FAILED; 5]);
        let health = fleet.endpoint(&0).health().to_string();
        health.split_once("for ").unwrap().1.split_once(':').unwrap().0.to_owned()
    };
    for time in ["30.0s", "60.0s", "70.0s"] {
        assert_eq!(out_for(&mut fleet), time);
        advance(70 * SECOND).await;
        fleet.settle();
        assert!(!is_out(&fleet, 0));
    }
    // The interval of the return, and three in good standing.
    for _ in 0..4 {
        advance(10 * SECOND).await;
        fleet.settle();
    }
    assert_eq!(out_for(&mut fleet), "30.0s");
}

#[tokio::test(start_paused = true)]
async fn jitter_prolongs_and_can_be_repeated() {
    let healths = |seed| {
        let (_handle, mut fleet) = fleet(9, rows_only().jitter(1.0).seed(seed));
        (0..4).for_each(|endpoint| send(&mut fleet, endpoint, vec![FAILED; 5]));
        (0..4).map(|endpoint| fleet.endpoint(&endpoint).health().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(healths(1), healths(1));
    assert_ne!(healths(1), healths(2));
    assert_ne!(healths(1)[0], healths(1)[1]);
}

#[tokio::test(start_paused = true)]
async fn success_rates_and_shares_of_failures_are_judged_each_interval() {
    let rates = || rows_only().failed_responses(None);
    let mixed =
        |good: usize, bad: usize| vec![Outcome::Success; good].into_iter().chain(vec![FAILED; bad]);
    let (_handle, mut far_below) = fleet(6, rates().success_rate(SuccessRate::default()));
    let (_other_handle, mut too_many) = fleet(2, rates().failure_share(FailureShare::default()));
    for round in 0..2 {
        for endpoint in 0..6 {
            send(&mut far_below, endpoint, mixed(120, if endpoint == 3 { 40 } else { 1 }));
        }
        send(&mut too_many, 0, mixed(10, 9));
        send(&mut too_many, 1, mixed(10, 11));
        assert_eq!(is_out(&far_below, 3), round > 0);
        advance(10 * SECOND).await;
        far_below.settle();
        too_many.settle();
    }
    assert_eq!((0..6).filter(|&endpoint| is_out(&far_below, endpoint)).collect::<Vec<_>>(), [3]);
    assert_eq!([0, 1].map(|endpoint| is_out(&too_many, endpoint)), [false, true]);
}

/// An interval in which each endpoint answers 30 requests in its time.
async fn interval_of_latencies(fleet: &mut Fleet, millis: &[u64]) {
    let attempts: Vec<_> = (0..millis.len())
        .map(|endpoint| (0..30).map(|_| fleet.request(&endpoint)).collect::<Vec<_>>())
        .collect();
    let mut passed = 0;
    let mut by_latency: Vec<_> = attempts.into_iter().zip(millis).collect();
    by_latency.sort_by_key(|(_, millis)| **millis);
    for (attempts, &millis) in by_latency {
        advance(Duration::from_millis(millis - passed)).await;
        passed = millis;
        attempts.into_iter().for_each(|attempt| attempt.finish(Outcome::Success));
    }
    advance(10 * SECOND - Duration::from_millis(passed)).await;
    fleet.settle();
}

#[tokio::test(start_paused = true)]
async fn a_latency_far_off_the_peers_for_long_enough_ejects() {
    let (_handle, mut fleet) = fleet(4, rows_only().latency(LatencyOutliers::default()));
    for _ in 0..2 {
        interval_of_latencies(&mut fleet, &[20, 25, 30, 200]).await;
    }
    interval_of_latencies(&mut fleet, &[20, 25, 30, 35]).await;
    for _ in 0..2 {
        interval_of_latencies(&mut fleet, &[20, 25, 30, 200]).await;
        assert!(!is_out(&fleet, 3), "not for long enough");
    }
    interval_of_latencies(&mut fleet, &[20, 25, 30, 200]).await;
    let reason = fleet.endpoint(&3).health().reason().map(str::to_owned).unwrap();
    assert!(reason.contains("median latency"), "{reason}");
    assert!((0..3).all(|endpoint| !is_out(&fleet, endpoint)));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_is_ejected_before_its_requests_time_out() {
    let (_handle, mut fleet) = fleet(3, rows_only().stalls(Stalls::default()));
    for endpoint in 0..3 {
        let attempt = fleet.request(&endpoint);
        advance(Duration::from_millis(20)).await;
        attempt.finish(Outcome::Success);
    }
    advance(60 * SECOND).await;
    fleet.settle();
    assert!((0..3).all(|endpoint| !is_out(&fleet, endpoint)), "idle is not silent");

    let hanging: Vec<_> = (0..4).map(|_| fleet.request(&0)).collect();
    let mut downloading: Vec<_> = (0..4).map(|_| fleet.request(&1)).collect();
    downloading.iter_mut().for_each(tower_lb::outcome::Attempt::first_byte);
    let few: Vec<_> = (0..2).map(|_| fleet.request(&2)).collect();
    // The process was stopped, not the backend: that is no silence.
    for _ in 0..3 {
        advance(60 * SECOND).await;
        fleet.settle();
    }
    assert!(!is_out(&fleet, 0));
    for _ in 0..10 {
        advance(Duration::from_millis(125)).await;
        fleet.settle();
    }
    let reason = fleet.endpoint(&0).health().reason().unwrap_or_default().to_owned();
    assert!(reason.contains("no response for 1.0s while requests wait"), "{reason}");
    assert_eq!([1, 2].map(|endpoint| is_out(&fleet, endpoint)), [false, false]);
    drop((hanging, downloading, few));

    // It hangs still when it is on trial.
    advance(30 * SECOND).await;
    fleet.settle();
    let _trial = fleet.request(&0);
    for _ in 0..10 {
        advance(Duration::from_millis(125)).await;
        fleet.settle();
    }
    assert!(fleet.endpoint(&0).health().reason().unwrap().starts_with("ejected for 60.0s"));
}

#[tokio::test(start_paused = true)]
async fn slow_fleets_are_not_silent() {
    let (_handle, mut fleet) = fleet(3, rows_only().stalls(Stalls::default()));
    for endpoint in 0..3 {
        let attempt = fleet.request(&endpoint);
        advance(SECOND).await;
        attempt.finish(Outcome::Success);
    }
    let _waiting: Vec<_> = (0..9).map(|_| fleet.request(&0)).collect();
    for _ in 0..72 {
        advance(Duration::from_millis(125)).await;
        fleet.settle();
    }
    assert!(!is_out(&fleet, 0), "nine times as long as usual");
}

#[tokio::test(start_paused = true)]
async fn the_last_one_is_spared_and_so_is_the_last_that_upstream_calls_healthy() {
    let (handle, mut fleet) = fleet(1, rows_only());
    send(&mut fleet, 0, vec![FAILED; 50]);
    assert!(!is_out(&fleet, 0));
    handle.insert(1, Endpoint::new(()).with_health(Health::unhealthy("checks"))).unwrap();
    send(&mut fleet, 0, vec![FAILED; 50]);
    assert!(!is_out(&fleet, 0));
    handle.insert(1, ()).unwrap();
    fleet.settle();
    send(&mut fleet, 0, vec![FAILED; 5]);
    assert!(is_out(&fleet, 0), "each fifth failure in a row counts");
}

#[tokio::test(start_paused = true)]
async fn what_upstream_says_is_made_no_better_and_comes_back() {
    let (handle, mut fleet) = fleet(3, rows_only());
    let draining = Endpoint::new(()).with_health(Health::draining("deploy"));
    send(&mut fleet, 0, vec![FAILED; 5]);
    handle.insert(0, draining.clone()).unwrap();
    fleet.settle();
    assert_eq!(fleet.endpoint(&0).health(), draining.health());
    handle.insert(0, Endpoint::new(()).with_weight(7)).unwrap();
    fleet.settle();
    assert!(is_out(&fleet, 0), "still ejected");
    advance(30 * SECOND).await;
    fleet.settle();
    fleet.request(&0).finish(Outcome::Success);
    fleet.settle();
    let endpoint = fleet.endpoint(&0);
    assert_eq!((endpoint.weight(), endpoint.health()), (7, &Health::Healthy));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_removed_comes_back_without_a_past() {
    let (handle, mut fleet) = fleet(3, rows_only());
    send(&mut fleet, 0, vec![FAILED; 4]);
    let old = Arc::clone(fleet.endpoint(&0).stats());
    let leftover = fleet.request(&0);
    handle.remove(0).unwrap();
    handle.insert(0, ()).unwrap();
    fleet.settle();
    leftover.finish(FAILED);
    send(&mut fleet, 0, vec![FAILED; 4]);
    assert!(!is_out(&fleet, 0));
    assert!(!Arc::ptr_eq(&old, fleet.endpoint(&0).stats()));
    send(&mut fleet, 0, [FAILED]);
    assert!(is_out(&fleet, 0));
}

/// How many are ejected or on trial.
fn away(fleet: &Fleet) -> usize {
    let is_away =
        |endpoint: &&Endpoint<()>| !endpoint.is_eligible() || endpoint.allowance().is_some();
    fleet.endpoints().values().filter(is_away).count()
}

/// Ten endpoints, half of them ejected because their requests timed out.
fn half_out_for_timeouts() -> (Handle<usize, ()>, Fleet) {
    let (handle, mut fleet) = fleet(10, rows_only());
    (0..5).for_each(|endpoint| send(&mut fleet, endpoint, vec![Outcome::Timeout; 5]));
    assert_eq!(away(&fleet), 5);
    (handle, fleet)
}

#[tokio::test(start_paused = true)]
async fn a_clearly_worse_endpoint_takes_the_place_of_the_least_bad() {
    let (_handle, mut fleet) = half_out_for_timeouts();
    send(&mut fleet, 5, vec![Outcome::Timeout; 10]);
    assert!(!is_out(&fleet, 5), "no worse than they are");
    // Timeouts come in from what was in flight there: 0 is worse than 1 now.
    let late: Vec<_> = (0..20).map(|_| fleet.request(&0)).collect();
    late.into_iter().for_each(|request| request.finish(Outcome::Timeout));

    (0..5).for_each(|_| fleet.request(&6).finish(FAILED));
    let mut most = away(&fleet);
    while fleet.step() {
        most = most.max(away(&fleet));
    }
    assert_eq!(most, 5, "at no moment is one too many out");
    assert!(is_out(&fleet, 6));
    assert_eq!(fleet.endpoint(&1).health(), &Health::Healthy, "the first of the least bad is back");
    assert!(fleet.endpoint(&1).allowance().is_none(), "without a trial, whose endpoint is out too");

    // Back it needs as many failures as the first time, and it has no place to take.
    send(&mut fleet, 1, vec![Outcome::Timeout; 5]);
    assert!(!is_out(&fleet, 1));
    send(&mut fleet, 1, vec![Outcome::Timeout; 10]);
    assert!(is_out(&fleet, 1), "it hangs: worse than those that have timed out");
    let reason = fleet.endpoint(&1).health().reason().unwrap();
    assert!(reason.starts_with("ejected for 30.0s"), "the first time didn't count: {reason}");
}

#[tokio::test(start_paused = true)]
async fn one_on_trial_gives_way_too_and_its_verdict_comes_too_late() {
    let (_handle, mut fleet) = half_out_for_timeouts();
    advance(30 * SECOND).await;
    fleet.settle();
    let trials: Vec<_> = (0..5).map(|endpoint| fleet.request(&endpoint)).collect();
    send(&mut fleet, 5, vec![FAILED; 5]);
    assert!(is_out(&fleet, 5));
    assert!(fleet.endpoint(&0).allowance().is_none());
    trials.into_iter().for_each(|trial| trial.finish(Outcome::Timeout));
    fleet.settle();
    let out: Vec<_> = (0..10).filter(|endpoint| is_out(&fleet, *endpoint)).collect();
    assert_eq!(out, [1, 2, 3, 4, 5]);
}

/// Two equals never take a place from each other, however long both fail.
#[tokio::test(start_paused = true)]
async fn places_do_not_flap() {
    let (_handle, mut fleet) = fleet(10, rows_only().ejection_time(60 * SECOND, 300 * SECOND));
    let before = fleet.updates();
    for round in 0..600 {
        advance(Duration::from_millis(100)).await;
        for endpoint in 0..10 {
            let failure = if endpoint < 7 { Outcome::Timeout } else { FAILED };
            for _ in 0..=round % 3 {
                if let Some(request) = fleet.try_request(&endpoint) {
                    request.finish(failure.clone());
                }
            }
        }
        fleet.settle();
    }
    assert_eq!(
        (7..10).filter(|endpoint| is_out(&fleet, *endpoint)).count(),
        3,
        "the worst are out"
    );
    // Five are ejected, and each swap changes two: the bound is eight for each place.
    let updates = fleet.updates() - before;
    assert!(updates <= 5 + 2 * 8 * 5, "{updates}");
    // In fact: three that fail, and two that hang in place of two that had timed out a few times.
    assert!(updates <= 5 + 2 * 5, "{updates}");
}

#[tokio::test(start_paused = true)]
async fn one_that_upstream_takes_out_gives_way_first() {
    let (handle, mut fleet) = fleet(4, rows_only());
    send(&mut fleet, 0, vec![FAILED; 20]);
    send(&mut fleet, 1, vec![FAILED; 5]);
    send(&mut fleet, 2, vec![Outcome::Timeout; 30]);
    assert!(!is_out(&fleet, 2), "less bad than both");
    handle.insert(1, Endpoint::new(()).with_health(Health::unhealthy("checks"))).unwrap();
    fleet.settle();
    send(&mut fleet, 2, vec![FAILED; 5]);
    assert!(is_out(&fleet, 2), "as bad as 1, which is out anyway");
    assert_eq!(fleet.endpoint(&1).health(), &Health::unhealthy("checks"));
    handle.insert(1, ()).unwrap();
    fleet.settle();
    assert!(!is_out(&fleet, 1));
}

/// The last that serves can be replaced, but only by one that serves.
#[tokio::test(start_paused = true)]
async fn the_last_that_serves_is_spared_unless_another_serves_in_its_stead() {
    let (handle, mut fleet) = fleet(2, rows_only());
    send(&mut fleet, 0, vec![Outcome::Timeout; 5]);
    assert!(is_out(&fleet, 0));
    handle.insert(0, Endpoint::new(()).with_health(Health::unhealthy("checks"))).unwrap();
    fleet.settle();
    send(&mut fleet, 1, vec![FAILED; 20]);
    assert!(!is_out(&fleet, 1));
    handle.insert(0, ()).unwrap();
    fleet.settle();
    send(&mut fleet, 1, vec![FAILED; 5]);
    assert_eq!([0, 1].map(|endpoint| is_out(&fleet, endpoint)), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_fail_at_once_lose_half() {
    let (handle, mut fleet) = fleet(10_000, rows_only());
    for endpoint in 0..10_000 {
        (0..5).for_each(|_| fleet.request(&endpoint).finish(FAILED));
    }
    fleet.settle();
    let out = |fleet: &Fleet| (0..10_000).filter(|&endpoint| is_out(fleet, endpoint)).count();
    assert_eq!(out(&fleet), 5000);
    // And are all back when their trials pass.
    advance(30 * SECOND).await;
    fleet.settle();
    for endpoint in 0..10_000 {
        if let Some(trial) = fleet.try_request(&endpoint) {
            trial.finish(Outcome::Success);
        }
    }
    fleet.settle();
    assert_eq!(out(&fleet), 0);
    handle.reset::<()>([]).unwrap();
    fleet.settle();
    assert!(fleet.endpoints().is_empty());
}

#[test]
fn nonsense_is_rejected_by_name() {
    let rejected = |detection: OutlierDetection| {
        let stream = discover::channel::<usize, ()>().1;
        stream.outlier_detected(detection).err()
    };
    let new = OutlierDetection::new;
    assert_eq!(rejected(new()), None);
    let zero_time = |field| Some(ConfigError::new(field, "a time above 0").with_value("0 s"));
    let zero = |field| Some(ConfigError::new(field, "at least 1").with_value(0));
    assert_eq!(rejected(new().interval(Duration::ZERO)), zero_time("interval"));
    assert_eq!(rejected(new().failed_responses(0)), zero("failed_responses"));
    assert_eq!(rejected(new().unanswered_requests(0)), zero("unanswered_requests"));
    assert_eq!(
        rejected(new().ejection_time(Duration::ZERO, SECOND)),
        zero_time("ejection_time.base")
    );
    for (detection, text) in [
        (
            new().ejection_time(2 * SECOND, SECOND),
            "`ejection_time.max` is 1s: expected at least `ejection_time.base`",
        ),
        (new().jitter(f64::NAN), "`jitter` is NaN: expected a number from 0 to 1"),
        (
            new().max_ejected(1, 101.0),
            "`max_ejected.percent` is 101: expected a number from 0 to 100",
        ),
        (
            new().latency(LatencyOutliers { factor: 0.5, ..LatencyOutliers::default() }),
            "`latency.factor` is 0.5: expected a number of at least 1",
        ),
        (
            new().stalls(Stalls { after: Duration::ZERO, ..Stalls::default() }),
            "`stalls.after` is 0 s: expected a time above 0",
        ),
        (
            new().success_rate(SuccessRate { deviations: -1.0, ..SuccessRate::default() }),
            "`success_rate.deviations` is -1: expected a number of at least 0",
        ),
        (
            new().failure_share(FailureShare { percent: 0.0, ..FailureShare::default() }),
            "`failure_share.percent` is 0: expected a number from 1 to 100",
        ),
    ] {
        let error = rejected(detection).unwrap().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize),
    Remove(usize),
    Reset(Vec<usize>),
    Requests(usize, u8, usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..12).prop_map(Step::Insert),
        2 => (0_usize..12).prop_map(Step::Remove),
        1 => prop::collection::vec(0_usize..12, 0..12).prop_map(Step::Reset),
        12 => (0_usize..12, 0_u8..6, 1_usize..8).prop_map(|(key, kind, n)| Step::Requests(key, kind, n)),
        3 => (1_u64..40).prop_map(Step::Pass),
    ]
}

fn outcome(kind: u8) -> Outcome {
    match kind {
        0 => Outcome::Success,
        1 => BUSY,
        2 => Outcome::TransportFailure,
        3 => Outcome::Timeout,
        4 => Outcome::Cancelled,
        _ => FAILED,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens: the cap holds, the endpoints are those that upstream says, an endpoint on
    /// trial has one request, and when requests succeed again all come back.
    #[test]
    fn laws_of_ejection(steps in prop::collection::vec(step(), 1..80), percent in 0_u32..100) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let detection = rows_only().max_ejected(1, percent.into()).seed(1);
            let (handle, mut fleet) = fleet(3, detection);
            let mut model: HashMap<usize, ()> = (0..3).map(|key| (key, ())).collect();
            for step in steps {
                match step {
                    Step::Insert(key) => {
                        handle.insert(key, ()).unwrap();
                        model.insert(key, ());
                    }
                    Step::Remove(key) => {
                        handle.remove(key).unwrap();
                        model.remove(&key);
                    }
                    Step::Reset(keys) => {
                        handle.reset(keys.iter().map(|&key| (key, ()))).unwrap();
                        model = keys.into_iter().map(|key| (key, ())).collect();
                    }
                    Step::Requests(key, kind, count) if model.contains_key(&key) => {
                        fleet.settle();
                        for _ in 0..count {
                            if let Some(attempt) = fleet.try_request(&key) {
                                attempt.finish(outcome(kind));
                            }
                        }
                    }
                    Step::Requests(..) => {}
                    Step::Pass(seconds) => advance(SECOND * seconds as u32).await,
                }
                // At any moment, unless endpoints are removed: the others return after that.
                let (before, cap) = (fleet.endpoints().len(), |endpoints: usize| {
                    let share = endpoints * percent as usize / 100;
                    share.max(1).min(endpoints.saturating_sub(1))
                });
                while fleet.step() {
                    let now = fleet.endpoints().len();
                    prop_assert!(now < before || now != model.len() || away(&fleet) <= cap(now));
                }
                let mut keys: Vec<_> = fleet.endpoints().keys().copied().collect();
                let mut expected: Vec<_> = model.keys().copied().collect();
                keys.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(&keys, &expected);
                prop_assert!(away(&fleet) <= cap(keys.len()));
            }
            for _ in 0..3 {
                advance(SECOND * 300).await;
                fleet.settle();
                for &key in model.keys() {
                    if let Some(attempt) = fleet.try_request(&key) {
                        attempt.finish(Outcome::Success);
                    }
                }
                fleet.settle();
            }
            for key in model.keys() {
                prop_assert_eq!(fleet.endpoint(key).health(), &Health::Healthy);
                prop_assert!(fleet.endpoint(key).allowance().is_none());
            }
            Ok(())
        })?;
    }

    /// However often it was ejected before, so many failures in a row suffice, and fewer don't.
    #[test]
    fn as_many_failures_suffice_after_a_return(limit in 1_u32..9, returns in 0_usize..6) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let detection = rows_only().failed_responses(limit).trial(false);
            let (_handle, mut fleet) = fleet(2, detection);
            for _ in 0..=returns {
                send(&mut fleet, 0, vec![FAILED; limit as usize - 1]);
                prop_assert!(!is_out(&fleet, 0));
                send(&mut fleet, 0, [FAILED]);
                prop_assert!(is_out(&fleet, 0));
                advance(SECOND * 300).await;
                fleet.settle();
            }
            Ok(())
        })?;
    }
}

/// Errors of the source pass through.
#[tokio::test(start_paused = true)]
async fn errors_pass_and_a_source_that_ends_leaves_detection_on() {
    use futures::StreamExt;
    let endpoints = [(0, Endpoint::new(())), (1, Endpoint::new(()))];
    let list =
        discover::list(endpoints).map(|update| update.map_err(|never: Infallible| match never {}));
    let failing = futures::stream::iter([Err("down")]).chain(list);
    let mut fleet = Watched::new(failing.outlier_detected(rows_only()).unwrap());
    fleet.settle();
    assert_eq!(fleet.errors(), ["down"]);
    (0..5).for_each(|_| fleet.request(&0).finish(FAILED));
    fleet.settle();
    assert!(!fleet.endpoint(&0).is_eligible());
}
