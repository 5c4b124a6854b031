//! Slow start: who is spared, for how long, and under which strategies.

use std::{collections::HashMap, time::Duration};

use tokio::time::advance;
use tower::{Service, ServiceExt};
use tower_lb::{
    Balancer, BoxError,
    discover::{self, Handle},
    endpoint::{Endpoint, Health},
    health::{HealthExt, OutlierDetection, SlowStart, SlowStarted},
    outcome::Outcome,
    strategy::{LeastLoaded, P2c, Pick, Random, RoundRobin, Strategy},
};
use tower_lb_test_support::{Backend, Watched, drive};

type Fleet = Watched<SlowStarted<discover::Channel<usize, ()>>>;

const SECOND: Duration = Duration::from_secs(1);

fn fleet(slow_start: SlowStart) -> (Handle<usize, ()>, Fleet) {
    let (handle, stream) = discover::channel();
    let mut fleet = Watched::new(stream.slow_start(slow_start).unwrap());
    fleet.settle();
    (handle, fleet)
}

async fn pass(fleet: &mut Fleet, time: Duration) {
    for _ in 0..10 {
        advance(time / 10).await;
        fleet.settle();
    }
}

fn weights<const N: usize>(fleet: &Fleet, endpoints: [usize; N]) -> [u32; N] {
    endpoints.map(|endpoint| fleet.endpoint(&endpoint).weight())
}

#[tokio::test(start_paused = true)]
async fn new_endpoints_and_those_that_return_ramp_up() {
    let (handle, mut fleet) = fleet(SlowStart::default());
    handle.reset([(0, ()), (1, ())]).unwrap();
    fleet.settle();
    assert_eq!(weights(&fleet, [0, 1]), [100, 100], "all are new");
    pass(&mut fleet, 30 * SECOND).await;

    handle.insert(2, Endpoint::new(()).with_weight(3)).unwrap();
    let ill = Endpoint::new(()).with_health(Health::unhealthy("checks"));
    handle.insert(1, ill.clone()).unwrap();
    fleet.settle();
    assert_eq!(weights(&fleet, [0, 2]), [100, 30], "from the floor");
    pass(&mut fleet, 15 * SECOND).await;
    handle.insert(1, ()).unwrap();
    fleet.settle();
    assert_eq!(weights(&fleet, [0, 1, 2]), [100, 10, 150]);
    pass(&mut fleet, 15 * SECOND).await;
    assert_eq!(weights(&fleet, [0, 1, 2]), [100, 50, 300]);
    // Changed on the way up.
    handle.insert(1, Endpoint::new(()).with_weight(8)).unwrap();
    fleet.settle();
    assert_eq!(weights(&fleet, [1]), [400]);
    // Flapping: from the floor each time.
    handle.insert(1, ill).unwrap();
    handle.insert(1, ()).unwrap();
    fleet.settle();
    assert_eq!(weights(&fleet, [1]), [10]);
    pass(&mut fleet, 31 * SECOND).await;
    let updates = fleet.updates();
    pass(&mut fleet, 60 * SECOND).await;
    assert_eq!((weights(&fleet, [1]), fleet.updates()), ([100], updates), "and is done");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_spared_where_all_are_new() {
    let (handle, mut fleet) = fleet(SlowStart::default());
    for endpoint in 0..5 {
        handle.insert(endpoint, ()).unwrap();
        pass(&mut fleet, SECOND).await;
    }
    assert_eq!(weights(&fleet, [0, 1, 2, 3, 4]), [100; 5]);
    pass(&mut fleet, 60 * SECOND).await;
    handle.reset([(5, ()), (6, ())]).unwrap();
    fleet.settle();
    // Warm ones were there when they came; relative to each other they have their whole shares.
    assert_eq!(weights(&fleet, [5, 6]), [10; 2]);
}

#[tokio::test(start_paused = true)]
async fn weights_of_any_size_keep_their_order_and_0_stays_0() {
    let (handle, mut fleet) = fleet(SlowStart::default().floor(0.0));
    handle.insert(9, ()).unwrap();
    pass(&mut fleet, 60 * SECOND).await;
    for (endpoint, weight) in [0, 1, 1000, u32::MAX].into_iter().enumerate() {
        handle.insert(endpoint, Endpoint::new(()).with_weight(weight)).unwrap();
    }
    fleet.settle();
    assert_eq!(weights(&fleet, [0, 1, 2, 3]), [0, 1, 1, 1]);
    pass(&mut fleet, 60 * SECOND).await;
    assert_eq!(weights(&fleet, [0, 1, 2, 3]), [0, 100, 100_000, u32::MAX]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_no_service() {
    let (handle, stream) = discover::channel();
    handle.reset([(0, ()), (1, ())]).unwrap();
    let detection = OutlierDetection::new().jitter(0.0);
    let stages = stream.outlier_detected(detection).unwrap();
    let mut fleet = Watched::new(stages.slow_start(SlowStart::default()).unwrap());
    fleet.settle();
    advance(60 * SECOND).await;
    (0..5).for_each(|_| fleet.request(&0).finish(Outcome::ApplicationError));
    fleet.settle();
    advance(30 * SECOND).await;
    fleet.settle();
    let trial = fleet.try_request(&0).expect("on trial");
    advance(20 * SECOND).await;
    trial.finish(Outcome::Success);
    fleet.settle();
    assert_eq!(fleet.endpoint(&0).weight(), 10, "begins with the verdict");
}

/// Shares of 1000 requests, where one of three has just come.
async fn share<St>(strategy: St) -> f64
where
    St: Strategy<Picker: Pick<()>> + 'static,
{
    let (handle, stream) = discover::channel();
    let backends: Vec<_> = (0..3).map(Backend::new).collect();
    handle.reset([(0, backends[0].clone()), (1, backends[1].clone())]).unwrap();
    let slow_start = SlowStart::default().floor(0.2);
    let (mut balancer, driver) = Balancer::builder()
        .seed(1)
        .build(strategy, stream.slow_start(slow_start).unwrap())
        .unwrap();
    let mut driver = Box::pin(driver);
    drive(&mut driver);
    advance(60 * SECOND).await;
    handle.insert(2, backends[2].clone()).unwrap();
    drive(&mut driver);
    let mut answers = HashMap::<String, usize>::new();
    for _ in 0..1000 {
        let answer: Result<_, BoxError> =
            balancer.ready().await.unwrap().call(()).await.map_err(Into::into);
        *answers.entry(answer.unwrap()).or_default() += 1;
    }
    answers["2"] as f64 / 1000.0
}

/// A fifth of a share beside two whole ones is 9 %.
#[tokio::test(start_paused = true)]
async fn works_under_every_strategy_that_honours_weights() {
    let shares = [
        share(RoundRobin::starting_at(0)).await,
        share(Random).await,
        share(P2c::default()).await,
        share(LeastLoaded::default()).await,
    ];
    assert!(shares.iter().all(|share| (0.06..0.12).contains(share)), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn ends_with_a_source_that_has_ended() {
    let list = discover::list([(0, Endpoint::new(()))]);
    let mut fleet = Watched::new(list.slow_start(SlowStart::default()).unwrap());
    fleet.settle();
    assert!(fleet.has_ended());
}

#[test]
fn nonsense_is_rejected() {
    let new = SlowStart::default;
    for (slow_start, text) in [
        (SlowStart::over(Duration::ZERO), "`duration` is 0 s"),
        (new().exponent(0.0), "`exponent` is 0: expected a number from 0.01 to 100"),
        (new().exponent(f64::INFINITY), "`exponent` is inf: expected a number from 0.01 to 100"),
        (new().floor(f64::NAN), "`floor` is NaN: expected a number from 0 to 1"),
    ] {
        let stream = discover::channel::<usize, ()>().1;
        let error = stream.slow_start(slow_start).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
