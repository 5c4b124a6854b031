//! Circuit breakers before single endpoints.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;
use tower_lb::{
    discover::{self, Handle},
    endpoint::Health,
    health::{CircuitBreaker, CircuitBroken, HealthExt, OutlierDetection},
    outcome::Outcome,
};
use tower_lb_test_support::Watched;

type Fleet = Watched<CircuitBroken<discover::Channel<usize, ()>>>;

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Outcome = Outcome::ApplicationError;
const GOOD: Outcome = Outcome::Success;

fn fleet(breaker: CircuitBreaker) -> (Handle<usize, ()>, Fleet) {
    let (handle, stream) = discover::channel();
    handle.reset([(0, ()), (1, ())]).unwrap();
    let mut fleet = Watched::new(stream.circuit_broken(breaker).unwrap());
    fleet.settle();
    (handle, fleet)
}

fn send(fleet: &mut Fleet, outcomes: impl IntoIterator<Item = Outcome>) {
    outcomes.into_iter().for_each(|outcome| fleet.request(&0).finish(outcome));
    fleet.settle();
}

fn reason(fleet: &Fleet) -> Option<&str> {
    fleet.endpoint(&0).health().reason()
}

async fn pass(fleet: &mut Fleet, time: Duration) {
    advance(time).await;
    fleet.settle();
}

#[tokio::test(start_paused = true)]
async fn opens_after_failures_in_a_row_of_any_kind_and_closes_when_the_trial_passes() {
    let (_handle, mut fleet) = fleet(CircuitBreaker::new());
    let mixed = [FAILED, Outcome::Timeout, Outcome::TransportFailure, FAILED];
    send(&mut fleet, mixed.clone());
    send(&mut fleet, [GOOD]);
    send(&mut fleet, mixed);
    send(&mut fleet, [Outcome::Overload { retry_after: None }, Outcome::Cancelled]);
    assert_eq!(reason(&fleet), None);
    send(&mut fleet, [FAILED]);
    assert_eq!(reason(&fleet), Some("circuit open for 5.0s: 5 consecutive failures"));
    assert_eq!(fleet.endpoint(&1).health(), &Health::Healthy);

    // Half-open: one request, whose failure doubles the time.
    pass(&mut fleet, 5 * SECOND).await;
    let trial = fleet.try_request(&0).unwrap();
    assert!(fleet.try_request(&0).is_none());
    trial.finish(FAILED);
    fleet.settle();
    assert_eq!(reason(&fleet), Some("circuit open for 10.0s: the trial failed"));
    pass(&mut fleet, 10 * SECOND).await;
    // Given up: another may go.
    drop(fleet.try_request(&0).unwrap());
    fleet.settle();
    fleet.try_request(&0).unwrap().finish(GOOD);
    fleet.settle();
    assert_eq!(reason(&fleet), None);
    assert!(fleet.endpoint(&0).allowance().is_none());
    send(&mut fleet, vec![FAILED; 4]);
    assert_eq!(reason(&fleet), None);
    send(&mut fleet, [FAILED]);
    assert_eq!(reason(&fleet), Some("circuit open for 5.0s: 5 consecutive failures"));
}

#[tokio::test(start_paused = true)]
async fn opens_for_a_share_of_failures_within_the_window() {
    let breaker = CircuitBreaker::new().consecutive_failures(None);
    let (_handle, mut fleet) = fleet(breaker.failure_share(50.0, 20, 10 * SECOND));
    let half = || (0..18).map(|turn| if turn % 2 == 0 { FAILED } else { GOOD });
    send(&mut fleet, half());
    for _ in 0..2 {
        pass(&mut fleet, 5 * SECOND).await;
    }
    send(&mut fleet, half());
    assert_eq!(reason(&fleet), None, "those before are out of the window");
    pass(&mut fleet, 5 * SECOND).await;
    send(&mut fleet, [GOOD, FAILED]);
    assert_eq!(reason(&fleet), Some("circuit open for 5.0s: 10 of 20 requests failed"));
}

#[tokio::test(start_paused = true)]
async fn all_trial_requests_must_succeed_and_no_more_are_let_through() {
    let (_handle, mut fleet) = fleet(CircuitBreaker::new().trial_requests(3));
    send(&mut fleet, vec![FAILED; 5]);
    pass(&mut fleet, 5 * SECOND).await;
    let trials: Vec<_> = std::iter::from_fn(|| fleet.try_request(&0)).collect();
    assert_eq!(trials.len(), 3);
    for (trial, still_half_open) in trials.into_iter().zip([true, true, false]) {
        trial.finish(GOOD);
        fleet.settle();
        assert_eq!(fleet.endpoint(&0).allowance().is_some(), still_half_open);
    }
}

/// Two stages that both have the endpoint on trial share the request.
#[tokio::test(start_paused = true)]
async fn one_trial_is_enough_for_a_breaker_and_outlier_detection() {
    let (handle, stream) = discover::channel();
    handle.reset([(0, ()), (1, ())]).unwrap();
    let stages = stream
        .circuit_broken(CircuitBreaker::new().open_time(30 * SECOND, 30 * SECOND))
        .unwrap()
        .outlier_detected(OutlierDetection::new().jitter(0.0))
        .unwrap();
    let mut fleet = Watched::new(stages);
    fleet.settle();
    (0..5).for_each(|_| fleet.request(&0).finish(FAILED));
    fleet.settle();
    assert!(!fleet.endpoint(&0).is_eligible());
    advance(30 * SECOND).await;
    fleet.settle();
    let trial = fleet.try_request(&0).unwrap();
    assert!(fleet.try_request(&0).is_none());
    trial.finish(GOOD);
    fleet.settle();
    assert_eq!(fleet.endpoint(&0).health(), &Health::Healthy);
    assert!(fleet.endpoint(&0).allowance().is_none());
}

#[test]
fn nonsense_is_rejected() {
    let new = CircuitBreaker::new;
    for (breaker, text) in [
        (new().consecutive_failures(0), "`consecutive_failures` is 0"),
        (new().failure_share(f64::NAN, 1, SECOND), "`failure_share.percent` is NaN"),
        (new().failure_share(50.0, 0, SECOND), "`failure_share.min_requests` is 0"),
        (new().failure_share(50.0, 1, Duration::ZERO), "`failure_share.window` is 0 s"),
        (new().open_time(Duration::ZERO, SECOND), "`open_time.base` is 0 s"),
        (
            new().open_time(2 * SECOND, SECOND),
            "`open_time.max` is 1s: expected at least `open_time.base`",
        ),
        (new().trial_requests(0), "`trial_requests` is 0"),
    ] {
        let stream = discover::channel::<usize, ()>().1;
        let error = stream.circuit_broken(breaker).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No past keeps an endpoint out for ever: when its requests succeed again, its circuit closes within
    /// the longest open time.
    #[test]
    fn nobody_starves(past in prop::collection::vec((0_u8..3, 0_u64..9), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (_handle, mut fleet) = fleet(CircuitBreaker::new().consecutive_failures(2));
            for (outcome, seconds) in past {
                if let Some(request) = fleet.try_request(&0) {
                    match outcome {
                        0 => request.finish(GOOD),
                        1 => request.finish(FAILED),
                        _ => drop(request),
                    }
                }
                pass(&mut fleet, SECOND * seconds as u32).await;
            }
            pass(&mut fleet, 60 * SECOND).await;
            fleet.try_request(&0).unwrap().finish(GOOD);
            fleet.settle();
            prop_assert_eq!(fleet.endpoint(&0).health(), &Health::Healthy);
            prop_assert!(fleet.endpoint(&0).allowance().is_none());
            Ok(())
        })?;
    }
}
