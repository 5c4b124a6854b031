//! A key with another target is another endpoint: all state starts anew. With other attributes it
//! is the same endpoint.

use std::{io, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::time::advance;
use tower::ServiceExt;
use tower_lb::{
    Balancer,
    discover::{self, Channel, DiscoverExt, Erased, Fetched, Handle, Schedule},
    endpoint::{Endpoint, EndpointStats, Health},
    health::{
        CircuitBreaker, Draining, HealthCheck, HealthExt, OutlierDetection, OverloadBackoff,
        SlowStart,
    },
    load::PeakEwma,
    outcome::Outcome,
    strategy::P2c,
};
use tower_lb_test_support::{Backend, Watched, drive};

const SECOND: Duration = Duration::from_secs(1);
type Source = Erased<&'static str, u32>;

/// The places at which targets are compared: the stage itself, and adapters before it.
fn sources() -> [(&'static str, Handle<&'static str, u32>, Source); 4] {
    let [a, b, c, d] = [(); 4].map(|()| discover::channel());
    let late = |stream: Channel<_, u32>| stream.connect(|&target: &u32| target).dedup().erase();
    [
        ("stage", a.0, a.1.erase()),
        ("dedup", b.0, b.1.dedup().erase()),
        ("connect", c.0, c.1.connect(|&target: &u32| target).erase()),
        ("connect and dedup", d.0, late(d.1)),
    ]
}

fn heavy(target: u32) -> Endpoint<u32> {
    Endpoint::new(target).with_weight(5).with_metadata("zone", "b")
}

/// Passes checks of target 1 at once, never ends checks of target 2, and fails the others.
async fn check(target: u32) -> Result<(), io::Error> {
    match target {
        1 => Ok(()),
        2 => std::future::pending().await,
        _ => Err(io::Error::other("down")),
    }
}

#[tokio::test(start_paused = true)]
async fn checks_start_anew() {
    for (name, handle, source) in sources() {
        let mut fleet = Watched::new(source.health_checked(HealthCheck::new(check)).unwrap());
        let mut insert = |endpoint: Endpoint<u32>| {
            handle.insert("a", endpoint).unwrap();
            fleet.settle();
            let reason = fleet.endpoint(&"a").health().reason().map(str::to_owned);
            (Arc::clone(fleet.endpoint(&"a").stats()), reason)
        };
        let unchecked = Some("health check: not checked yet".to_owned());
        insert(1.into());
        let (first, healthy) = insert(1.into());
        assert_eq!(healthy, None, "{name}");
        let (same, healthy) = insert(heavy(1));
        assert!(Arc::ptr_eq(&first, &same) && healthy.is_none(), "{name}");
        let (other, reason) = insert(heavy(2));
        assert!(!Arc::ptr_eq(&first, &other), "{name}");
        assert_eq!(reason, unchecked, "{name}");
        // The check of the target before is cancelled, and does not fail the new one.
        let (_, reason) = insert(1.into());
        assert_eq!(reason, unchecked, "{name}: the first check is due 10 ms after the last one");
        advance(2 * SECOND).await;
        let (_, healthy) = insert(heavy(1));
        assert_eq!(healthy, None, "{name}");
        // In a whole set too.
        handle.reset([("a", 3), ("b", 1)]).unwrap();
        fleet.settle();
        advance(SECOND / 10).await;
        fleet.settle();
        assert!(!fleet.endpoint(&"a").health().is_serving(), "{name}");
        assert!(fleet.endpoint(&"b").health().is_serving(), "{name}");
    }
}

/// The last of two endpoints with one key counts, so sending both again changes nothing.
#[tokio::test(start_paused = true)]
async fn a_key_that_occurs_twice_starts_anew_once() {
    for (name, handle, source) in sources() {
        let mut fleet = Watched::new(source.health_checked(HealthCheck::new(check)).unwrap());
        let mut reset = |weight| {
            let last = Endpoint::new(1).with_weight(weight);
            handle.reset([("a", Endpoint::new(7)), ("a", last)]).unwrap();
            fleet.settle();
            let endpoint = fleet.endpoint(&"a");
            assert!(endpoint.health().is_serving(), "{name}");
            Arc::clone(endpoint.stats())
        };
        let first = reset(1);
        assert!(Arc::ptr_eq(&first, &reset(1)), "{name}");
        assert!(Arc::ptr_eq(&first, &reset(5)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn outliers_and_breakers_start_anew() {
    for stage in ["outliers", "breaker"] {
        for (name, handle, source) in sources() {
            let detection = OutlierDetection::new().jitter(0.0);
            let stream = match stage {
                "outliers" => source.outlier_detected(detection).unwrap().erase(),
                _ => source.circuit_broken(CircuitBreaker::new()).unwrap().erase(),
            };
            let mut fleet = Watched::new(stream);
            handle.reset([("a", 1), ("b", 7)]).unwrap();
            fleet.settle();
            let late = fleet.request(&"a");
            for _ in 0..5 {
                fleet.request(&"a").finish(Outcome::ApplicationError);
            }
            fleet.settle();
            assert!(!fleet.endpoint(&"a").is_eligible(), "{stage}, {name}");
            handle.insert("a", heavy(1)).unwrap();
            fleet.settle();
            assert!(!fleet.endpoint(&"a").is_eligible(), "{stage}, {name}");
            handle.insert("a", heavy(2)).unwrap();
            fleet.settle();
            assert!(fleet.endpoint(&"a").is_eligible(), "{stage}, {name}");
            assert_eq!(fleet.endpoint(&"a").stats().outcomes().total(), 0);
            // What the target before still answers says nothing about the new one, and neither
            // does the end of its ejection.
            late.finish(Outcome::ApplicationError);
            for _ in 0..4 {
                fleet.request(&"a").finish(Outcome::ApplicationError);
            }
            fleet.settle();
            advance(60 * SECOND).await;
            fleet.settle();
            let endpoint = fleet.endpoint(&"a");
            assert!(endpoint.is_eligible() && endpoint.allowance().is_none(), "{stage}, {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_start_and_overload_backoff_start_anew() {
    for (name, handle, source) in sources() {
        let slow_start = SlowStart::over(10 * SECOND);
        let mut fleet = Watched::new(source.slow_start(slow_start).unwrap());
        handle.reset([("a", 1), ("b", 7)]).unwrap();
        fleet.settle();
        advance(20 * SECOND).await;
        handle.insert("a", heavy(1)).unwrap();
        fleet.settle();
        assert_eq!(fleet.endpoint(&"a").weight(), 500, "{name}");
        handle.insert("a", heavy(2)).unwrap();
        fleet.settle();
        assert_eq!(fleet.endpoint(&"a").weight(), 50, "{name}");
    }
    for (name, handle, source) in sources() {
        let mut fleet = Watched::new(source.overload_backoff(OverloadBackoff::new()).unwrap());
        handle.reset([("a", 1), ("b", 7)]).unwrap();
        fleet.settle();
        for _ in 0..10 {
            fleet.request(&"a").finish(Outcome::Overload { retry_after: Some(30 * SECOND) });
        }
        advance(SECOND).await;
        handle.insert("a", heavy(1)).unwrap();
        fleet.settle();
        assert_eq!(fleet.endpoint(&"a").weight(), 250, "{name}");
        handle.insert("a", heavy(2)).unwrap();
        fleet.settle();
        assert_eq!(fleet.endpoint(&"a").weight(), 500, "{name}");
    }
}

/// The key is in use again, so the requests of the target before do not keep it.
#[tokio::test(start_paused = true)]
async fn a_key_that_drains_serves_its_new_target() {
    for (name, handle, source) in sources() {
        let mut fleet = Watched::new(source.drained(Draining::within(10 * SECOND)).unwrap());
        handle.insert("a", 1).unwrap();
        fleet.settle();
        let _open = fleet.request(&"a");
        handle.remove("a").unwrap();
        fleet.settle();
        assert!(matches!(fleet.endpoint(&"a").health(), Health::Draining(_)), "{name}");
        handle.insert("a", 2).unwrap();
        advance(20 * SECOND).await;
        fleet.settle();
        let endpoint = fleet.endpoint(&"a");
        assert_eq!((endpoint.health(), *endpoint.target()), (&Health::Healthy, 2), "{name}");
        assert_eq!(endpoint.stats().outstanding(), 0, "{name}");
    }
}

/// In the balancer: statistics, the latency estimate and the slots.
#[tokio::test(start_paused = true)]
async fn the_balancer_starts_anew() {
    let targets: [Backend; 3] = [Backend::new(0), Backend::new(1), Backend::holding(2)];
    let (handle, stream) = discover::channel();
    let connected = stream.connect(move |&target: &usize| targets[target].clone());
    let builder = Balancer::builder().seed(1).max_outstanding(1).fail_fast(SECOND);
    let (balancer, driver) = builder.build(P2c::new(PeakEwma::default()), connected).unwrap();
    let mut driver = Box::pin(driver);
    handle.insert("a", 0).unwrap();
    drive(&mut driver);
    let send = || balancer.clone().oneshot(());
    send().await.unwrap();
    let status = || balancer.status().endpoints.remove(0);
    assert_eq!((status().outcomes.total(), status().latency.is_some()), (1, true));

    handle.insert("a", Endpoint::new(0).with_weight(3)).unwrap();
    drive(&mut driver);
    assert_eq!((status().outcomes.total(), status().latency.is_some()), (1, true));
    assert_eq!(status().attributes.weight(), 3);

    handle.insert("a", 2).unwrap();
    drive(&mut driver);
    assert_eq!((status().outcomes.total(), status().latency), (0, None));
    // A request at this target takes its only slot, but none of the next target.
    let mut held = Box::pin(send());
    assert!(held.as_mut().now_or_never().is_none());
    assert_eq!(status().outstanding, 1);
    let mut queued = Box::pin(send());
    assert!(queued.as_mut().now_or_never().is_none());
    handle.insert("a", 1).unwrap();
    drive(&mut driver);
    assert_eq!(status().outstanding, 0);
    assert_eq!(queued.await.unwrap(), "1");
    assert_eq!(status().outcomes.total(), 1);
}

/// A source that is polled makes new endpoints for each answer, and compares them with the last.
#[tokio::test(start_paused = true)]
async fn a_polled_source_compares_its_answers() {
    let answers = [[("a", 1), ("b", 1)], [("b", 1), ("a", 2)], [("b", 2), ("a", 2)]];
    let mut answers = answers.into_iter().cycle();
    let source = discover::refresh("table", Schedule::new().jitter(0.0), move || {
        let answer = answers.next().unwrap();
        async move { Ok(Fetched::new(answer.map(|(key, target)| (key, Endpoint::new([target]))))) }
    });
    // The stages can't compare this type of target.
    let stages = source.unwrap().slow_start(SlowStart::over(SECOND)).unwrap();
    let mut fleet = Watched::new(stages.drained(Draining::default()).unwrap());
    let mut stats = || -> [Arc<EndpointStats>; 2] {
        fleet.settle();
        ["a", "b"].map(|key| Arc::clone(fleet.endpoint(&key).stats()))
    };
    let first = stats();
    let mut all = vec![first];
    for _ in 0..2 {
        advance(40 * SECOND).await;
        tokio::task::yield_now().await;
        all.push(stats());
    }
    let same = |one: usize, other: usize, key: usize| Arc::ptr_eq(&all[one][key], &all[other][key]);
    assert!(!same(0, 1, 0) && same(0, 1, 1), "another `a`, the same `b`");
    assert!(same(1, 2, 0) && !same(1, 2, 1), "the same `a`, another `b`");
}

/// Services can't be compared: without a comparison the endpoint is changed in place.
#[tokio::test(start_paused = true)]
async fn a_service_that_was_not_compared_keeps_the_state() {
    let (handle, stream) = discover::channel();
    let mut fleet = Watched::new(stream.drained(Draining::default()).unwrap());
    let mut insert = |name| {
        handle.insert("a", Backend::new(name)).unwrap();
        fleet.settle();
        Arc::clone(fleet.endpoint(&"a").stats())
    };
    assert!(Arc::ptr_eq(&insert(1), &insert(2)));
}
