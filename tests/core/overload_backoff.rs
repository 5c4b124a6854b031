//! Endpoints that have too much to do get less.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;
use tower_lb::{
    discover,
    endpoint::Endpoint,
    health::{HealthExt, OverloadBackedOff, OverloadBackoff},
    outcome::Outcome,
};
use tower_lb_test_support::Watched;

type Fleet = Watched<OverloadBackedOff<discover::Channel<usize, ()>>>;

const SECOND: Duration = Duration::from_secs(1);

fn fleet(relief: OverloadBackoff) -> (discover::Handle<usize, ()>, Fleet) {
    let (handle, stream) = discover::channel();
    handle.reset([(0, Endpoint::new(())), (1, Endpoint::new(()).with_weight(2))]).unwrap();
    let mut fleet = Watched::new(stream.overload_backoff(relief).unwrap());
    fleet.settle();
    (handle, fleet)
}

/// A second in which an endpoint answers so many requests well, and so many with an overload.
async fn second(fleet: &mut Fleet, well: usize, busy: usize, retry_after: Option<Duration>) {
    (0..well).for_each(|_| fleet.request(&0).finish(Outcome::Success));
    (0..busy).for_each(|_| fleet.request(&0).finish(Outcome::Overload { retry_after }));
    advance(SECOND).await;
    fleet.settle();
}

#[tokio::test(start_paused = true)]
async fn the_share_of_overloads_lowers_the_weight_and_quiet_raises_it() {
    let (_handle, mut fleet) = fleet(OverloadBackoff::new());
    let weight = |fleet: &Fleet| fleet.endpoint(&0).weight();
    assert_eq!(weight(&fleet), 100);
    second(&mut fleet, 80, 20, None).await;
    assert_eq!(weight(&fleet), 90);
    second(&mut fleet, 0, 100, None).await;
    assert_eq!(weight(&fleet), 45);
    for _ in 0..10 {
        second(&mut fleet, 0, 100, None).await;
    }
    assert_eq!(weight(&fleet), 5, "the floor");
    assert!(fleet.endpoint(&0).is_eligible());
    for _ in 0..10 {
        second(&mut fleet, 10, 0, None).await;
    }
    assert_eq!(weight(&fleet), 100);
    assert_eq!(fleet.endpoint(&1).weight(), 200);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_heeded_up_to_a_limit() {
    let (_handle, mut fleet) = fleet(OverloadBackoff::new().max_pause(5 * SECOND));
    second(&mut fleet, 0, 10, Some(Duration::MAX)).await;
    for _ in 0..5 {
        assert_eq!(fleet.endpoint(&0).weight(), 50);
        second(&mut fleet, 10, 0, None).await;
    }
    assert_eq!(fleet.endpoint(&0).weight(), 60);
}

#[test]
fn nonsense_is_rejected() {
    for (relief, text) in [
        (OverloadBackoff::new().interval(Duration::ZERO), "`interval` is 0 s"),
        (OverloadBackoff::new().floor(2.0), "`floor` is 2: expected a number from 0 to 1"),
    ] {
        let error =
            discover::channel::<usize, ()>().1.overload_backoff(relief).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was answered: the weight is between floor and whole, and is whole again after as
    /// many quiet intervals as it takes.
    #[test]
    fn nobody_starves(answers in prop::collection::vec((0_usize..20, 0_usize..20), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (_handle, mut fleet) = fleet(OverloadBackoff::new());
            for (well, busy) in answers {
                second(&mut fleet, well, busy, None).await;
                prop_assert!((5..=100).contains(&fleet.endpoint(&0).weight()));
            }
            for _ in 0..10 {
                second(&mut fleet, 0, 0, None).await;
            }
            prop_assert_eq!(fleet.endpoint(&0).weight(), 100);
            Ok(())
        })?;
    }
}
