//! One source for many balancers.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, executor::block_on, stream};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_lb::{
    Balancer, BoxError,
    balance::DriverState,
    discover::{
        self, Broadcast, BroadcastDriver, BroadcastError, Discover, DiscoverExt, Subscription,
        Update,
    },
    endpoint::Endpoint,
    health::{CircuitBreaker, Draining, HealthExt},
    strategy::RoundRobin,
};
use tower_lb_test_support::{Backend, Failure};

/// Polls a driver once; true if it has completed.
fn drive<D>(driver: &mut BroadcastDriver<D>) -> bool
where
    D: Discover<Key: Clone + Eq + std::hash::Hash, Target: Clone, Error: Into<BoxError>> + Unpin,
    BroadcastDriver<D>: Unpin,
{
    driver.now_or_never().is_some()
}

fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    stream.next().now_or_never().flatten()
}

fn updates<K, T>(subscription: &mut Subscription<K, T>) -> Vec<Update<K, T>>
where
    K: Clone + Eq + std::hash::Hash + Debug,
    T: Clone + Debug,
{
    std::iter::from_fn(|| next(subscription)).map(Result::unwrap).collect()
}

#[test]
fn a_newcomer_gets_the_whole_set_and_then_changes() {
    let (handle, stream) = discover::channel();
    let (broadcast, mut driver) = stream.broadcast();
    let mut early = broadcast.subscribe();
    assert!(next(&mut early).is_none(), "no set yet, and not an empty one");

    handle.insert("a", 1).unwrap();
    assert!(!drive(&mut driver));
    let mut late = broadcast.clone().subscribe();
    assert_eq!(updates(&mut early), [Update::Insert("a", Endpoint::new(1))]);
    assert_eq!(updates(&mut late), [Update::Reset(vec![("a", Endpoint::new(1))])]);

    handle.insert("b", 2).unwrap();
    handle.remove("a").unwrap();
    assert!(!drive(&mut driver));
    let both = [Update::Insert("b", Endpoint::new(2)), Update::Remove("a")];
    assert_eq!((updates(&mut early), updates(&mut late)), (both.to_vec(), both.to_vec()));

    handle.reset([("c", 3)]).unwrap();
    drop(handle);
    assert!(drive(&mut driver), "the source has ended");
    let reset = Update::Reset(vec![("c", Endpoint::new(3))]);
    for mut subscription in [early, late, broadcast.subscribe()] {
        assert_eq!(next(&mut subscription).unwrap().unwrap(), reset);
        assert!(subscription.next().now_or_never().unwrap().is_none(), "the end");
        assert!(subscription.next().now_or_never().unwrap().is_none(), "the end, again");
    }
    assert!(drive(&mut driver), "polled after completion");
}

#[test]
fn a_slow_subscriber_gets_the_newest_of_each_endpoint_once() {
    let (handle, stream) = discover::channel();
    let (broadcast, mut driver) = stream.broadcast();
    let mut slow = broadcast.subscribe();
    handle.reset((0..1000_u32).map(|key| (key, key))).unwrap();
    assert!(!drive(&mut driver));
    assert_eq!(updates(&mut slow).len(), 1);

    for weight in 1..=500 {
        handle.insert(7, Endpoint::new(7).with_weight(weight)).unwrap();
    }
    assert!(!drive(&mut driver));
    assert_eq!(updates(&mut slow), [Update::Insert(7, Endpoint::new(7).with_weight(500))]);

    for weight in 1..=10_000 {
        handle.insert(weight % 10, Endpoint::new(weight % 10).with_weight(weight)).unwrap();
    }
    (0..6).for_each(|_| assert!(!drive(&mut driver)));
    let [Update::Reset(all)] = &updates(&mut slow)[..] else { panic!("not the whole set") };
    assert_eq!(all.len(), 1000);
    let heaviest = all.iter().map(|(_, endpoint)| endpoint.weight()).max();
    assert_eq!(heaviest, Some(10_000));
}

#[test]
fn a_removal_is_not_lost_on_a_slow_subscriber() {
    let (handle, stream) = discover::channel();
    let (broadcast, mut driver) = stream.broadcast();
    let mut slow = broadcast.subscribe();
    handle.insert("k", Backend::new("before")).unwrap();
    assert!(!drive(&mut driver));
    let Some(Ok(Update::Insert(_, before))) = next(&mut slow) else { panic!() };

    // Services cannot be compared: only the removal tells that this is another endpoint.
    handle.remove("k").unwrap();
    handle.insert("k", Backend::new("after")).unwrap();
    assert!(!drive(&mut driver));
    assert!(matches!(next(&mut slow), Some(Ok(Update::Remove("k")))));
    let Some(Ok(Update::Insert(_, after))) = next(&mut slow) else { panic!() };
    assert!(!Arc::ptr_eq(before.stats(), after.stats()));
}

#[tokio::test(start_paused = true)]
async fn errors_reach_all_subscribers_and_change_no_endpoint() {
    let items = [
        Ok(Update::Insert("a", Backend::new("a").into())),
        Err(Failure("first")),
        Err(Failure("second")),
        Ok(Update::Insert("b", Backend::new("b").into())),
        Err(Failure("last")),
    ];
    let source = stream::iter(items).chain(stream::pending());
    let (broadcast, driver) = source.broadcast();
    let balancers: Vec<_> = (0..3)
        .map(|_| Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe()))
        .collect();
    let started = Instant::now();
    tokio::spawn(driver);
    sleep(Duration::from_secs(1)).await;
    for balancer in &balancers {
        let status = balancer.status();
        assert_eq!(status.endpoints.len(), 2);
        assert_eq!(status.driver.state, DriverState::Running);
        assert_eq!(status.driver.last_error.unwrap().to_string(), "last");
        assert!((1..=3).contains(&status.driver.errors));
    }
    let mut late = broadcast.subscribe();
    assert!(matches!(late.next().await, Some(Ok(Update::Reset(all))) if all.len() == 2));
    let error: BroadcastError = late.next().await.unwrap().err().unwrap();
    assert_eq!(error.cause().unwrap().downcast_ref(), Some(&Failure("last")));
    assert!(late.next().now_or_never().is_none());
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_always_fails_is_polled_with_pauses() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let source = stream::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Err::<Update<&str, u32>, _>(Failure("down"))
    });
    let broadcast = Broadcast::spawn(source);
    let mut subscription = broadcast.subscribe();
    sleep(Duration::from_secs(10)).await;
    assert!(polls.load(Ordering::Relaxed) < 12, "{polls:?}");
    assert!(subscription.next().await.unwrap().is_err());
    assert!(subscription.next().now_or_never().is_none(), "errors are not queued");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_dropped_is_an_error_and_the_end() {
    let (handle, stream) = discover::channel();
    let (broadcast, driver) = stream.broadcast();
    let task = tokio::spawn(driver);
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    handle.insert("a", Backend::new("a")).unwrap();
    assert_eq!(balancer.clone().oneshot(()).await.unwrap(), "a");
    task.abort();
    sleep(Duration::from_secs(1)).await;
    let status = balancer.status();
    assert_eq!(status.driver.state, DriverState::Complete);
    let error = status.driver.last_error.unwrap().to_string();
    assert_eq!(error, "the driver of the broadcast was dropped before the source ended");
    assert_eq!(balancer.oneshot(()).await.unwrap(), "a", "the last endpoints stay");
}

#[tokio::test]
async fn the_source_is_dropped_with_the_last_subscriber() {
    let (handle, stream) = discover::channel();
    let (broadcast, driver) = stream.broadcast();
    let driver = tokio::spawn(driver);
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let other = broadcast.subscribe();
    drop(broadcast);
    handle.insert("a", Backend::new("a")).unwrap();
    assert_eq!(balancer.clone().oneshot(()).await.unwrap(), "a");
    drop(other);
    yield_now().await;
    assert!(!driver.is_finished(), "a balancer has it");
    drop(balancer);
    driver.await.unwrap();
    assert!(handle.insert("b", Backend::new("b")).is_err());
}

#[tokio::test]
async fn balancers_share_services_and_statistics_unless_they_have_their_own() {
    let (handle, stream) = discover::channel();
    let broadcast = Broadcast::spawn(stream);
    let shared = || Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let own = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe().with_own_stats());
    let (first, second) = (shared(), shared());
    let backend = Backend::new("a");
    handle.insert("a", backend.clone()).unwrap();
    for balancer in [&first, &first, &second, &own] {
        balancer.clone().oneshot(()).await.unwrap();
    }
    assert_eq!(backend.calls(), 4);
    let name = |balancer: &Balancer<_, _>| Arc::clone(&balancer.status().endpoints[0].name);
    assert!(Arc::ptr_eq(&name(&first), &name(&second)) && &*name(&own) == "a");
    let successes = |balancer: &Balancer<_, _>| balancer.status().endpoints[0].outcomes.success;
    assert_eq!((successes(&first), successes(&second), successes(&own)), (3, 3, 1));

    // An endpoint that is changed in place keeps its statistics in each balancer.
    handle.insert("a", Endpoint::new(backend.clone()).with_weight(5)).unwrap();
    handle.reset([("a", Endpoint::new(backend).with_weight(6))]).unwrap();
    while own.status().endpoints[0].attributes.weight() != 6 {
        yield_now().await;
    }
    assert_eq!(successes(&own), 1);
}

#[tokio::test]
async fn a_balancer_with_other_keys_has_other_names() {
    let broadcast = Broadcast::spawn(discover::list([("a", Backend::new("a").into())]));
    let plain = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let mapped = broadcast.subscribe().map_keys(|key| format!("east/{key}"));
    let mapped = Balancer::spawn::<_, ()>(RoundRobin::new(), mapped);
    plain.clone().oneshot(()).await.unwrap();
    mapped.clone().oneshot(()).await.unwrap();
    assert_eq!(&*plain.status().endpoints[0].name, "a");
    assert_eq!(&*mapped.status().endpoints[0].name, "east/a");
}

/// A stage before the broadcast sees the requests of all balancers.
#[tokio::test(start_paused = true)]
async fn draining_before_the_broadcast_waits_for_the_requests_of_all_balancers() {
    let (handle, stream) = discover::channel();
    let drained = stream.drained(Draining::within(Duration::from_secs(60))).unwrap();
    let broadcast = Broadcast::spawn(drained);
    let first = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let second = Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let backend = Backend::holding("a");
    handle.insert("a", backend.clone()).unwrap();
    let request = tokio::spawn(first.clone().oneshot(()));
    while backend.calls() == 0 {
        yield_now().await;
    }
    handle.remove("a").unwrap();
    sleep(Duration::from_secs(5)).await;
    for balancer in [&first, &second] {
        assert_eq!(balancer.status().endpoints[0].attributes.health().state(), "draining");
    }
    assert!(backend.answer());
    assert_eq!(request.await.unwrap().unwrap(), "a");
    sleep(Duration::from_secs(5)).await;
    assert!(first.status().endpoints.is_empty() && second.status().endpoints.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_circuit_before_the_broadcast_counts_the_failures_of_all_balancers() {
    let (handle, stream) = discover::channel();
    let broken = stream.circuit_broken(CircuitBreaker::new().consecutive_failures(4)).unwrap();
    let broadcast = Broadcast::spawn(broken);
    let balancer = || Balancer::spawn::<_, ()>(RoundRobin::new(), broadcast.subscribe());
    let (first, second) = (balancer(), balancer());
    let backend = Backend::new("a");
    backend.set_failing(true);
    handle.insert("a", backend).unwrap();
    for balancer in [&first, &second, &first, &second] {
        assert!(balancer.clone().oneshot(()).await.is_err());
    }
    sleep(Duration::from_secs(1)).await;
    for balancer in [&first, &second] {
        assert_eq!(balancer.status().endpoints[0].attributes.health().state(), "unhealthy");
    }
}

/// Subscribers on other threads than the driver miss no wake-up and end with the same set.
#[test]
fn subscribers_on_many_threads_end_with_the_set_of_the_source() {
    const CHANGES: u32 = 20_000;
    let (handle, stream) = discover::channel();
    let (broadcast, driver) = stream.broadcast();
    let subscribers: Vec<_> = (0..8_u64)
        .map(|number| {
            let subscription = broadcast.subscribe();
            thread::spawn(move || {
                block_on(subscription.fold(BTreeMap::new(), |mut set, update| async move {
                    match update.unwrap() {
                        Update::Insert(key, endpoint) => _ = set.insert(key, *endpoint.target()),
                        Update::Remove(key) => _ = set.remove(&key),
                        Update::Reset(all) => {
                            let all = all.iter().map(|(key, endpoint)| (*key, *endpoint.target()));
                            set = all.collect();
                        }
                    }
                    if number % 2 == 1 && set.len() % 50 == 0 {
                        thread::sleep(Duration::from_micros(100 * number));
                    }
                    set
                }))
            })
        })
        .collect();
    drop(broadcast);
    let driver = thread::spawn(move || block_on(driver));
    let mut expected = BTreeMap::new();
    for change in 0..CHANGES {
        let key = change.wrapping_mul(2_654_435_761) % 300;
        if change % 3 == 0 {
            expected.remove(&key);
            handle.remove(key).unwrap();
        } else {
            expected.insert(key, change);
            handle.insert(key, change).unwrap();
        }
        if change % 5000 == 4999 {
            handle.reset(expected.clone()).unwrap();
        }
    }
    drop(handle);
    driver.join().unwrap();
    for subscriber in subscribers {
        assert_eq!(subscriber.join().unwrap(), expected);
    }
}
