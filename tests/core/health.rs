//! Health adapters together, before a real balancer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::FutureExt;
use proptest::prelude::*;
use tokio::time::{advance, timeout};
use tower::{Service, ServiceExt};
use tower_lb::{
    Balancer, Error,
    discover::{self, Discover, Handle},
    endpoint::{Endpoint, Health},
    health::{
        CircuitBreaker, Draining, HealthCheck, HealthExt, InitialState, LatencyOutliers,
        OutlierDetection, OverloadBackoff, SlowStart, Stalls,
    },
    load::Outstanding,
    outcome::Outcome,
    strategy::{LeastLoaded, P2c, Pick, Random, RoundRobin, Strategy as Choosing},
};
use tower_lb_test_support::{Backend, Watched, drive};

const SECOND: Duration = Duration::from_secs(1);

/// Ejects one of two backends by its failures, and lets time pass until it is on trial.
async fn on_trial<St>(
    strategy: St,
) -> ([Backend; 2], Handle<usize, Backend>, Balancer<Backend, St>, impl FnMut())
where
    St: Choosing<Picker: Pick<()>>,
{
    let backends = [Backend::new(0), Backend::new(1)];
    let (handle, stream) = discover::channel();
    handle.reset([(0, backends[0].clone()), (1, backends[1].clone())]).unwrap();
    let stages = stream.outlier_detected(OutlierDetection::new().jitter(0.0)).unwrap();
    let builder = Balancer::builder().seed(7).fail_fast(SECOND);
    let (mut balancer, driver) = builder.build(strategy, stages).unwrap();
    let mut driver = Box::pin(driver);
    drive(&mut driver);
    backends[0].set_failing(true);
    for _ in 0..200 {
        let _ = balancer.ready().await.unwrap().call(()).await;
        drive(&mut driver);
    }
    assert_eq!(backends[0].calls(), 5, "ejected by the fifth failure, before the next request");
    advance(30 * SECOND).await;
    drive(&mut driver);
    (backends, handle, balancer, move || {
        drive(&mut driver);
    })
}

async fn exactly_one_request_is_the_trial<St>(strategy: St)
where
    St: Choosing<Picker: Pick<()>>,
{
    let (backends, _handle, mut balancer, mut drive) = on_trial(strategy).await;
    // The verdict is late: the driver is not polled.
    for _ in 0..200 {
        let _ = balancer.ready().await.unwrap().call(()).await;
    }
    assert_eq!(backends[0].calls(), 6, "one request on trial");
    drive();
    for _ in 0..200 {
        balancer.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(backends[0].calls(), 6, "which has failed");
    backends[0].set_failing(false);
    advance(60 * SECOND).await;
    drive();
    for _ in 0..200 {
        balancer.ready().await.unwrap().call(()).await.unwrap();
        drive();
    }
    assert!(backends[0].calls() > 50, "passed, and back: {}", backends[0].calls());
}

#[tokio::test(start_paused = true)]
async fn exactly_one_request_is_the_trial_under_every_strategy() {
    exactly_one_request_is_the_trial(RoundRobin::new()).await;
    exactly_one_request_is_the_trial(Random).await;
    exactly_one_request_is_the_trial(P2c::new(Outstanding)).await;
    exactly_one_request_is_the_trial(LeastLoaded::new(Outstanding)).await;
}

/// A check that cannot open a socket says nothing about the endpoint.
#[tokio::test(start_paused = true)]
async fn a_local_lack_changes_no_state() {
    let lacks = Arc::new(AtomicBool::new(false));
    let (lacks_now, checks) = (Arc::clone(&lacks), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&checks);
    let check = HealthCheck::new(move |_: Backend| {
        count.fetch_add(1, Relaxed);
        let lacks = lacks_now.load(Relaxed);
        // As a client wraps it.
        let error = || io::Error::other(io::Error::from_raw_os_error(24));
        async move { if lacks { Err(error()) } else { Ok(()) } }
    });
    let (handle, stream) = discover::channel();
    let stages = stream.health_checked(check.interval(5 * SECOND).fall(1)).unwrap();
    let (balancer, driver) = Balancer::builder().build(RoundRobin::new(), stages).unwrap();
    let mut driver = Box::pin(driver);
    let state = |balancer: &Balancer<Backend, RoundRobin>| {
        balancer.status().endpoints[0].attributes.health().is_serving()
    };
    let mut pass = async |time: Duration| {
        let _ = timeout(time, &mut driver).await;
    };
    // Before the first result, and after.
    lacks.store(true, Relaxed);
    handle.insert(0, Backend::new(0)).unwrap();
    pass(5 * SECOND).await;
    assert!(!state(&balancer), "not checked yet");
    assert!(checks.load(Relaxed) >= 4, "repeated soon: {}", checks.load(Relaxed));
    lacks.store(false, Relaxed);
    pass(3 * SECOND).await;
    assert!(state(&balancer));
    lacks.store(true, Relaxed);
    pass(300 * SECOND).await;
    assert!(state(&balancer), "{}", balancer.status());
}

/// Nobody else is there: requests wait for the verdict, and not for ever.
#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_verdict_when_only_the_trial_is_left() {
    let (backends, handle, balancer, mut drive) = on_trial(RoundRobin::new()).await;
    let held = Backend::holding(0);
    handle.insert(0, held.clone()).unwrap();
    let gone = Endpoint::new(backends[1].clone()).with_health(Health::unhealthy("checks"));
    handle.insert(1, gone).unwrap();
    drive();

    let send = |balancer: &Balancer<_, _>| {
        let mut balancer: Balancer<Backend, _> = balancer.clone();
        Box::pin(async move { ServiceExt::<()>::ready(&mut balancer).await?.call(()).await })
    };
    let mut trial = send(&balancer);
    assert!(trial.as_mut().now_or_never().is_none(), "held");
    let outcome = timeout(3 * SECOND, send(&balancer)).await;
    assert!(matches!(outcome, Ok(Err(Error::Unavailable(_)))), "{outcome:?}");

    let mut waiting = send(&balancer);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(held.answer());
    assert_eq!(trial.await.unwrap(), "0");
    drive();
    assert!(waiting.as_mut().now_or_never().is_none(), "it is sent now");
    assert!(held.answer());
    assert_eq!(waiting.await.unwrap(), "0");
}

#[tokio::test(start_paused = true)]
async fn everything_rides_on_a_spawned_driver() {
    let backends: Vec<_> = (0..3).map(Backend::new).collect();
    let (handle, stream) = discover::channel();
    handle.reset(backends.iter().cloned().enumerate()).unwrap();
    let checked = |backend: Backend| async move { ServiceExt::<()>::oneshot(backend, ()).await };
    let check = HealthCheck::new(move |backend| async move { checked(backend).await.map(drop) });
    let stages = stream
        .health_checked(check.interval(SECOND).fall(1))
        .and_then(|stages| stages.outlier_detected(OutlierDetection::new()))
        .and_then(|stages| stages.circuit_broken(CircuitBreaker::new()))
        .and_then(|stages| stages.slow_start(SlowStart::default()))
        .and_then(|stages| stages.drained(Draining::default()))
        .unwrap();
    let balancer = Balancer::builder().seed(1).spawn(P2c::default(), stages).unwrap();
    for _ in 0..30 {
        balancer.clone().oneshot(()).await.unwrap();
    }
    tokio::time::sleep(60 * SECOND).await;
    // Found by its checks, without a request.
    backends[0].set_failing(true);
    tokio::time::sleep(10 * SECOND).await;
    for _ in 0..100 {
        balancer.clone().oneshot(()).await.unwrap();
    }
    let status = balancer.status();
    let first = status.endpoints.iter().find(|endpoint| &*endpoint.name == "0").unwrap();
    assert_eq!(first.attributes.health().reason(), Some("health check: failing"));
    // And back, bit by bit.
    backends[0].set_failing(false);
    tokio::time::sleep(10 * SECOND).await;
    let weights = balancer.status().endpoints;
    let weight = |name: &str| {
        weights.iter().find(|endpoint| &*endpoint.name == name).unwrap().attributes.weight()
    };
    assert!((10..60).contains(&weight("0")), "{}", weight("0"));
    assert_eq!(weight("1"), 100);
}

/// Nonsense that is not rejected does no harm: neither a panic nor a loop without end.
#[tokio::test(start_paused = true)]
async fn settings_at_their_extremes_do_no_harm() {
    for time in [Duration::from_nanos(1), Duration::MAX] {
        let always = |()| std::future::ready(Ok::<_, &str>(()));
        let (handle, stream) = discover::channel();
        handle.reset((0..4).map(|key| (key, ()))).unwrap();
        let check = HealthCheck::new(always).interval(time).timeout(time).jitter(0.9);
        let check = check.changing_interval(time).rise(1_000_000).fall(1_000_000);
        let latency =
            LatencyOutliers { min_difference: time, factor: f64::MAX, ..Default::default() };
        let stalls = Stalls { after: time, factor: f64::INFINITY, min_waiting: u32::MAX };
        let detection = OutlierDetection::new().interval(time).ejection_time(time, time);
        let detection = detection.jitter(1.0).latency(latency).stalls(stalls).failed_responses(1);
        let breaker = CircuitBreaker::new().open_time(time, time).failure_share(100.0, 1, time);
        let relief = OverloadBackoff::new().interval(time).max_pause(time);
        let stages = stream
            .health_checked(check.initial(InitialState::Up))
            .and_then(|stages| stages.outlier_detected(detection))
            .and_then(|stages| stages.circuit_broken(breaker.trial_requests(u32::MAX)))
            .and_then(|stages| stages.overload_backoff(relief))
            .and_then(|stages| stages.slow_start(SlowStart::over(time).exponent(100.0)))
            .and_then(|stages| stages.drained(Draining::within(time)))
            .unwrap();
        let mut fleet = Watched::new(stages);
        for outcome in [
            Outcome::Success,
            Outcome::ApplicationError,
            Outcome::Overload { retry_after: Some(Duration::MAX) },
            Outcome::Timeout,
        ] {
            fleet.settle();
            for _ in 0..50 {
                if let Some(request) = fleet.try_request(&0) {
                    advance(Duration::from_millis(1)).await;
                    request.finish(outcome.clone());
                }
                fleet.settle();
            }
            advance(SECOND * 1_000_000).await;
        }
        handle.remove(0).unwrap();
        fleet.settle();
    }
}

/// What upstream says, and what an endpoint's requests do.
#[derive(Clone, Debug)]
enum Step {
    Say(u8, u32),
    Requests(bool, u8),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, 0_u32..5).prop_map(|(health, weight)| Step::Say(health, weight)),
        (any::<bool>(), 1_u8..9).prop_map(|(good, count)| Step::Requests(good, count)),
        (1_u8..40).prop_map(Step::Pass),
    ]
}

fn said(health: u8, weight: u32) -> Endpoint<()> {
    let health = match health {
        0 => Health::Healthy,
        1 => Health::degraded("said"),
        2 => Health::unhealthy("said"),
        _ => Health::draining("said"),
    };
    Endpoint::new(()).with_health(health).with_weight(weight)
}

fn severity(health: &Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Degraded(_) => 1,
        Health::Unhealthy(_) => 2,
        _ => 3,
    }
}

/// The stages in one order or the other.
fn stages(
    order: bool,
    stream: discover::Channel<usize, ()>,
) -> std::pin::Pin<
    Box<
        dyn Discover<
                Key = usize,
                Target = (),
                Error = std::convert::Infallible,
                Item = Result<discover::Update<usize, ()>, std::convert::Infallible>,
            >,
    >,
> {
    let check = HealthCheck::new(|()| std::future::ready(Ok::<_, &str>(())));
    let check = check.initial(InitialState::FullyUp).seed(1);
    let detection = OutlierDetection::new().max_ejected(1, 50.0).seed(1);
    if order {
        let stream = stream.health_checked(check).unwrap().outlier_detected(detection).unwrap();
        Box::pin(stream.circuit_broken(CircuitBreaker::new()).unwrap())
    } else {
        let stream = stream.circuit_broken(CircuitBreaker::new()).unwrap();
        Box::pin(stream.outlier_detected(detection).unwrap().health_checked(check).unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In any order, stages make what upstream says only worse, keep its other attributes and vitals,
    /// and give it back when all is well.
    #[test]
    fn stages_compose_in_any_order(order: bool, steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (handle, stream) = discover::channel();
            let mut upstream = said(0, 1);
            handle.reset([(0, upstream.clone()), (1, said(0, 1))]).unwrap();
            let mut fleet = Watched::new(stages(order, stream));
            fleet.settle();
            let stats = Arc::clone(fleet.endpoint(&0).stats());
            for step in steps {
                match step {
                    Step::Say(health, weight) => {
                        upstream = said(health, weight);
                        handle.insert(0, upstream.clone()).unwrap();
                    }
                    Step::Requests(good, count) => for _ in 0..count {
                        let Some(request) = fleet.try_request(&0) else { break };
                        request.finish(if good { Outcome::Success } else { Outcome::Timeout });
                    },
                    Step::Pass(seconds) => advance(SECOND * u32::from(seconds)).await,
                }
                fleet.settle();
                let endpoint = fleet.endpoint(&0);
                prop_assert!(severity(endpoint.health()) >= severity(upstream.health()));
                prop_assert_eq!(endpoint.weight(), upstream.weight());
                prop_assert!(Arc::ptr_eq(endpoint.stats(), &stats));
            }
            handle.insert(0, upstream.clone().with_health(Health::Healthy).with_weight(1)).unwrap();
            for _ in 0..4 {
                advance(SECOND * 300).await;
                fleet.settle();
                if let Some(request) = fleet.try_request(&0) {
                    request.finish(Outcome::Success);
                }
                fleet.settle();
            }
            prop_assert_eq!(fleet.endpoint(&0), &said(0, 1));
            Ok(())
        })?;
    }
}
