//! The contracts of the balancer, one test each.

use std::{
    convert::Infallible,
    error::Error as _,
    future::Future,
    panic::catch_unwind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tower::{Service, ServiceExt};
use tower_lb::{
    Balancer, Error,
    balance::{Builder, DriverState},
    discover::{self, Discover, Update},
    endpoint::{Endpoint, Health},
    load::PeakEwma,
    outcome::Outcome,
    strategy::{Dynamic, P2c, Panic, PanicMode, Pick, RoundRobin, Strategy},
};
use tower_lb_test_support::{Backend, Failure, Readiness, drive, flag, logs::Logs};

fn two() -> (Backend, Backend) {
    (Backend::new("a"), Backend::new("b"))
}

type RoundRobinBalancer = Balancer<Backend, RoundRobin>;
type RoundRobinDriver = std::pin::Pin<
    Box<tower_lb::balance::Driver<discover::Channel<&'static str, Backend>, RoundRobin>>,
>;

fn ask<St: Strategy<Picker: Pick<()>>>(
    service: &mut task::Spawn<Balancer<Backend, St>>,
) -> Poll<Result<(), Error>> {
    service.enter(|cx, service| Service::<()>::poll_ready(service.get_mut(), cx))
}

fn with_channel(
    builder: Builder,
) -> (discover::Handle<&'static str, Backend>, RoundRobinBalancer, RoundRobinDriver) {
    let (handle, stream) = discover::channel();
    let (balancer, driver) = builder.build(RoundRobin::starting_at(0), stream).unwrap();
    (handle, balancer, Box::pin(driver))
}

#[tokio::test]
async fn clones_share_endpoints_and_take_turns_together() {
    let (a, b) = two();
    let endpoints = discover::list([("a", a.into()), ("b", b.into())]);
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::starting_at(0), endpoints);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(balancer.clone().oneshot(()).await.unwrap());
    }
    assert_eq!(answers, ["a", "b", "a", "b"]);
}

#[test]
fn not_ready_until_an_endpoint_is_found_and_woken_by_it() {
    let (handle, balancer, mut driver) = with_channel(Balancer::builder());
    let mut service = task::spawn(balancer);
    assert_pending!(ask(&mut service));
    drive(&mut driver);
    assert!(!service.is_woken());
    handle.insert("a", Backend::new("a")).unwrap();
    drive(&mut driver);
    assert!(service.is_woken());
    assert_ready_ok!(ask(&mut service));

    // And back again when the last is removed.
    handle.remove("a").unwrap();
    drive(&mut driver);
    assert_pending!(ask(&mut service));
}

#[test]
fn a_request_called_regardless_waits_in_its_future() {
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    let mut response = task::spawn(balancer.call(()));
    assert_pending!(response.poll());
    handle.insert("a", Backend::new("a")).unwrap();
    drive(&mut driver);
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()), "a");
}

#[test]
fn in_flight_counts_from_the_pick_to_the_end_and_outcomes_once() {
    let a = Backend::holding("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let (first, second) = (balancer.call(()), balancer.call(()));
    let status = || balancer.status().endpoints.remove(0);
    assert_eq!(status().outstanding, 2);
    drop(first);
    assert_eq!((status().outstanding, status().outcomes.cancelled), (1, 1));
    a.answer();
    a.answer();
    second.now_or_never().unwrap().unwrap();
    assert_eq!((status().outstanding, status().outcomes.success), (0, 1));
    assert_eq!(status().outcomes.total(), 2);
}

#[test]
fn an_endpoint_that_comes_back_starts_fresh_and_old_requests_dont_touch_it() {
    let a = Backend::holding("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let old = balancer.call(());
    handle.remove("a").unwrap();
    handle.insert("a", a).unwrap();
    drive(&mut driver);
    let status = || balancer.status().endpoints.remove(0);
    assert_eq!(status().outstanding, 0);
    drop(old);
    assert_eq!((status().outstanding, status().outcomes.total()), (0, 0));
}

#[test]
fn attributes_change_in_place_and_the_figures_stay() {
    let a = Backend::holding("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let _request = balancer.call(());
    handle.insert("a", Endpoint::new(a.clone()).with_weight(7)).unwrap();
    drive(&mut driver);
    let status = balancer.status().endpoints.remove(0);
    assert_eq!((status.attributes.weight(), status.outstanding), (7, 1));

    let unhealthy = Endpoint::new(a).with_health(Health::unhealthy("checks fail"));
    handle.reset([("a", unhealthy)]).unwrap();
    drive(&mut driver);
    let status = balancer.status().endpoints.remove(0);
    assert_eq!(status.attributes.health().reason(), Some("checks fail"));
    assert_eq!(status.outstanding, 1);
}

#[test]
fn errors_name_the_endpoint_and_keep_its_own_error() {
    let a = Backend::new("a");
    a.set_failing(true);
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("10.0.0.1:80", a).unwrap();
    drive(&mut driver);
    let error = balancer.call(()).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.endpoint(), Some("10.0.0.1:80"));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Failure("failing")));
    assert_eq!(error.to_string(), "endpoint 10.0.0.1:80 failed");
    assert_eq!(balancer.status().endpoints[0].outcomes.transport, 1);
}

#[test]
fn a_pending_endpoint_traps_no_request() {
    let (a, b) = two();
    a.set_readiness(Readiness::Pending);
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a).unwrap();
    handle.insert("b", b).unwrap();
    drive(&mut driver);
    for _ in 0..4 {
        assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "b");
    }
    let figures = balancer.status().endpoints;
    assert!(figures.iter().all(|endpoint| endpoint.outstanding == 0));
    assert_eq!(figures[0].outcomes.total(), 0, "a was asked, but sent nothing");
}

#[test]
fn of_several_pending_endpoints_the_first_that_gets_ready_is_taken() {
    let backends = ["a", "b", "c"].map(Backend::new);
    backends.iter().for_each(|backend| backend.set_readiness(Readiness::Pending));
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    for (name, backend) in ["a", "b", "c"].into_iter().zip(&backends) {
        handle.insert(name, backend.clone()).unwrap();
    }
    drive(&mut driver);
    let mut response = task::spawn(balancer.call(()));
    assert_pending!(response.poll());
    let outstanding = |balancer: &RoundRobinBalancer| {
        balancer.status().endpoints.iter().map(|endpoint| endpoint.outstanding).sum::<u32>()
    };
    assert_eq!(outstanding(&balancer), 3);
    backends[1].set_readiness(Readiness::Ready);
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()), "b");
    drop(response);
    assert_eq!(outstanding(&balancer), 0);
}

#[test]
fn endpoints_that_are_removed_while_waited_for_are_given_up() {
    let (a, b) = two();
    a.set_readiness(Readiness::Pending);
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let mut response = task::spawn(balancer.call(()));
    assert_pending!(response.poll());
    handle.reset([("b", b)]).unwrap();
    drive(&mut driver);
    assert!(response.is_woken());
    assert_eq!(assert_ready_ok!(response.poll()), "b");
    assert_eq!(a.calls(), 0);
}

#[test]
fn one_readiness_error_loses_neither_request_nor_endpoint() {
    let (a, b) = two();
    a.set_readiness(Readiness::Fails);
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);

    // Alone, its error is the request's.
    let error = balancer.call(()).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.endpoint(), Some("a"));
    assert_eq!(error.source().unwrap().downcast_ref(), Some(&Failure("not ready")));

    // With another, that one serves.
    handle.insert("b", b).unwrap();
    drive(&mut driver);
    for _ in 0..4 {
        assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "b");
    }

    // And when it is over, it is over.
    a.set_readiness(Readiness::Ready);
    balancer.call(()).now_or_never().unwrap().unwrap();
    balancer.call(()).now_or_never().unwrap().unwrap();
    assert_eq!(a.calls(), 1);
}

#[test]
fn no_endpoint_gets_more_than_max_outstanding_and_waiting_is_in_order() {
    let a = Backend::holding("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder().max_outstanding(2));
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let mut ready = task::spawn(balancer.clone());
    assert_ready_ok!(ask(&mut ready));
    let _first = balancer.call(());
    let _second = balancer.call(());
    assert_pending!(ask(&mut ready));

    let mut third = task::spawn(balancer.call(()));
    let mut fourth = task::spawn(balancer.call(()));
    assert_pending!(third.poll());
    assert_pending!(fourth.poll());
    assert_eq!(a.calls(), 2);

    drop(_first);
    assert!(third.is_woken() && !fourth.is_woken());
    assert_pending!(fourth.poll(), "not its turn, even if it is polled first");
    assert_eq!(a.calls(), 2);
    assert_pending!(third.poll());
    assert_eq!(a.calls(), 3);
    assert!(!ready.is_woken(), "the fourth comes first");

    drop(_second);
    assert_pending!(fourth.poll());
    assert_eq!(a.calls(), 4);
    assert_pending!(ask(&mut ready));
    drop(third);
    assert!(ready.is_woken());
    assert_ready_ok!(ask(&mut ready));
}

#[test]
fn a_cancelled_waiter_passes_its_turn_on() {
    let a = Backend::holding("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder().max_outstanding(1));
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let first = balancer.call(());
    let mut second = task::spawn(balancer.call(()));
    let mut third = task::spawn(balancer.call(()));
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    drop(first);
    assert!(second.is_woken());
    drop(second);
    assert!(third.is_woken());
    assert_pending!(third.poll());
    assert_eq!(a.calls(), 2);
}

#[test]
fn a_new_endpoint_serves_those_in_line() {
    let (a, b) = (Backend::holding("a"), Backend::new("b"));
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder().max_outstanding(1));
    handle.insert("a", a).unwrap();
    drive(&mut driver);
    let _first = balancer.call(());
    let mut second = task::spawn(balancer.call(()));
    assert_pending!(second.poll());
    handle.insert("b", b).unwrap();
    drive(&mut driver);
    assert!(second.is_woken());
    assert_eq!(assert_ready_ok!(second.poll()), "b");
}

#[test]
fn a_free_slot_is_found_among_many_full_endpoints() {
    let backends: Vec<_> = (0..100).map(Backend::holding).collect();
    let named = (0..100).zip(&backends).map(|(key, backend)| (key, backend.clone().into()));
    let builder = Balancer::builder().max_outstanding(1);
    let (mut balancer, driver) = builder.build(P2c::default(), discover::list(named)).unwrap();
    drive(&mut Box::pin(driver));
    let requests: Vec<_> = (0..100).map(|_| balancer.call(())).collect();
    assert!(backends.iter().all(|backend| backend.calls() == 1));
    let mut ready = task::spawn(balancer);
    assert_pending!(ask(&mut ready));
    drop(requests);
}

/// What it failed before is not held against an endpoint that somebody put back into service.
#[tokio::test]
async fn an_endpoint_that_is_put_back_begins_anew() {
    let (handle, stream) = discover::channel::<&str, Backend>();
    let (mut balancer, driver) = Balancer::builder().seed(1).build(P2c::default(), stream).unwrap();
    let mut driver = Box::pin(driver);
    let (bad, good) = two();
    bad.set_failing(true);
    let endpoint = Endpoint::new(bad.clone());
    handle.insert("bad", endpoint.clone()).unwrap();
    drive(&mut driver);
    for _ in 0..20 {
        balancer.call(()).await.unwrap_err();
    }
    handle.insert("good", good.clone()).unwrap();
    handle.insert("bad", endpoint.clone().with_health(Health::unhealthy("down"))).unwrap();
    drive(&mut driver);
    bad.set_failing(false);
    let before = bad.calls();
    handle.insert("bad", endpoint).unwrap();
    drive(&mut driver);
    for _ in 0..100 {
        balancer.call(()).await.unwrap();
    }
    // Half of them, give or take four standard deviations.
    let calls = bad.calls() - before;
    assert!((30..=70).contains(&calls), "{calls}");
}

/// Patience that ran out in `poll_ready` is that of the next request, and of no other.
#[tokio::test(start_paused = true)]
async fn the_next_request_waits_again() {
    let builder = Balancer::builder().max_outstanding(1).max_wait(Duration::from_millis(250));
    let (handle, mut balancer, mut driver) = with_channel(builder);
    handle.insert("a", Backend::holding("a")).unwrap();
    drive(&mut driver);
    let first = balancer.call(());
    ServiceExt::<()>::ready(&mut balancer).await.unwrap();
    drop(first);
    let _second = balancer.call(());
    let mut third = task::spawn(balancer.call(()));
    assert_pending!(third.poll(), "it has 250 ms of its own");
}

#[tokio::test(start_paused = true)]
async fn overload_fails_at_once_or_after_a_time() {
    for max_wait in [Duration::ZERO, Duration::from_millis(250)] {
        let builder = Balancer::builder().max_outstanding(1).max_wait(max_wait);
        let (handle, mut balancer, mut driver) = with_channel(builder);
        handle.insert("a", Backend::holding("a")).unwrap();
        drive(&mut driver);
        let _first = balancer.call(());

        let start = Instant::now();
        let error = balancer.call(()).await.unwrap_err();
        assert!(matches!(error, Error::Overloaded { max_outstanding: 1, .. }), "{error}");
        assert!((start.elapsed()).abs_diff(max_wait) <= Duration::from_millis(1));

        // The same for those who ask first.
        let start = Instant::now();
        let error =
            ServiceExt::<()>::ready(&mut balancer).await.unwrap().call(()).await.unwrap_err();
        assert!(matches!(error, Error::Overloaded { .. }), "{error}");
        assert!(start.elapsed().abs_diff(max_wait) <= Duration::from_millis(1));
    }
}

/// With a limited queue, `poll_ready` leaves the waiting to the requests, which are counted.
#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_and_counts() {
    let builder = Balancer::builder().max_outstanding(1).max_waiting(2);
    let (handle, mut balancer, mut driver) = with_channel(builder);
    let backend = Backend::holding("a");
    handle.insert("a", backend.clone()).unwrap();
    drive(&mut driver);
    let mut first = task::spawn(balancer.call(()));
    assert_pending!(first.poll());
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let ready = ServiceExt::<()>::ready(&mut balancer).now_or_never().expect("at once");
        let mut request = task::spawn(ready.unwrap().call(()));
        assert_pending!(request.poll());
        waiting.push(request);
    }
    let error = balancer.call(()).now_or_never().expect("at once").unwrap_err();
    assert!(matches!(error, Error::Overloaded { max_outstanding: 1, .. }), "{error}");
    let status = balancer.status();
    assert_eq!((status.waiting, status.rejected), (2, 1));
    assert!(status.to_string().contains("rejected: 1 requests"), "{status}");

    // A request that leaves makes room in the queue, and the first of those that stay is served.
    drop(waiting.pop());
    let mut last = task::spawn(balancer.call(()));
    assert_pending!(last.poll());
    backend.answer();
    assert_ready_ok!(first.poll());
    assert!(waiting[0].is_woken());
    assert_pending!(waiting[0].poll(), "it is at the endpoint");
    assert_eq!((balancer.status().waiting, balancer.status().rejected), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_no_request_waits() {
    let builder = Balancer::builder().max_outstanding(1).max_waiting(0);
    let (handle, mut balancer, mut driver) = with_channel(builder);
    drive(&mut driver);
    let error = balancer.call(()).now_or_never().expect("at once").unwrap_err();
    assert!(matches!(error, Error::NoEndpoints { .. }), "{error}");
    assert_eq!(balancer.status().rejected, 0, "it does not lack room");
    handle.insert("a", Backend::holding("a")).unwrap();
    drive(&mut driver);
    let _first = balancer.call(());
    let error = balancer.call(()).now_or_never().expect("at once").unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }), "{error}");
    assert_eq!(balancer.status().rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn without_endpoints_it_fails_fast_if_told_to() {
    let after = Duration::from_secs(3);
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder().fail_fast(after));
    let start = Instant::now();
    let error = ServiceExt::<()>::ready(&mut balancer).await.unwrap().call(()).await.unwrap_err();
    assert!(matches!(error, Error::NoEndpoints { .. }) && error.is_unsent(), "{error}");
    assert!(start.elapsed().abs_diff(after) <= Duration::from_millis(1));

    let unhealthy = Endpoint::new(Backend::new("a")).with_health(Health::unhealthy("down"));
    handle.insert("a", unhealthy).unwrap();
    handle.insert("b", Endpoint::new(Backend::new("b")).with_weight(0)).unwrap();
    drive(&mut driver);
    let error = balancer.call(()).await.unwrap_err();
    let expected =
        "none of 2 endpoints is available: 1 unhealthy, 1 of weight 0 (a is unhealthy: down)";
    assert_eq!(error.to_string(), expected);

    // An endpoint that never gets ready counts as unavailable too.
    let stuck = Backend::new("c");
    stuck.set_readiness(Readiness::Pending);
    handle.insert("c", stuck).unwrap();
    drive(&mut driver);
    let error = ServiceExt::<()>::ready(&mut balancer).await.unwrap().call(()).await.unwrap_err();
    let Error::Unavailable(why) = &error else { panic!("{error}") };
    assert_eq!((why.endpoints, why.not_ready), (3, 1), "{error}");

    handle.insert("b", Backend::new("b")).unwrap();
    drive(&mut driver);
    assert_eq!(balancer.call(()).await.unwrap(), "b", "and it recovers");
}

#[tokio::test(start_paused = true)]
async fn by_default_it_waits_as_towers_balance_does() {
    let (_handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    drive(&mut driver);
    let waited = timeout(Duration::from_secs(3600), ServiceExt::<()>::ready(&mut balancer)).await;
    assert!(waited.is_err());
}

/// A `poll_ready` that waits longer than 1 s is logged once, with what it waits for.
#[tokio::test(start_paused = true)]
async fn a_long_wait_of_poll_ready_is_logged_once() {
    let (logs, _guard) = Logs::collect();
    let (_handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    drive(&mut driver);
    let short = timeout(Duration::from_millis(900), ServiceExt::<()>::ready(&mut balancer));
    assert!(short.await.is_err());
    let mut other = balancer.clone();
    assert_eq!(logs.take(), [""; 0], "not after 0.9 s");
    let long = timeout(Duration::from_secs(60), ServiceExt::<()>::ready(&mut other));
    assert!(long.await.is_err());
    let [event] = &logs.take()[..] else { panic!("one event") };
    assert!(event.starts_with("still waiting for an endpoint"), "{event}");
    assert!(event.contains("waiting=poll_ready waits_for=an endpoint "), "{event}");
    assert!(event.contains(" endpoints=0 "), "{event}");
}

/// A request that waits longer than 1 s is logged once, also if it fails later.
#[tokio::test(start_paused = true)]
async fn a_long_wait_of_a_request_is_logged_once() {
    let (logs, _guard) = Logs::collect();
    let backend = Backend::holding("a");
    let builder = Balancer::builder().max_outstanding(1).max_wait(Duration::from_secs(10));
    let (handle, mut balancer, mut driver) = with_channel(builder);
    handle.insert("a", backend.clone()).unwrap();
    drive(&mut driver);
    logs.take();
    let first = balancer.call(());
    let second = balancer.call(());
    assert!(timeout(Duration::from_secs(5), second).await.is_err());
    let [event] = &logs.take()[..] else { panic!("one event") };
    let expected = "still waiting for an endpoint waiting=request waits_for=an endpoint with room";
    assert!(event.starts_with(expected), "{event}");
    assert!(event.contains(" queued=1 max_outstanding=1 endpoints=1 eligible=1 "), "{event}");
    let third = balancer.call(());
    assert!(matches!(third.await, Err(Error::Overloaded { max_outstanding: 1, .. })));
    assert_eq!(logs.take().len(), 1);
    drop(first);
}

#[test]
fn spawning_outside_of_a_runtime_panics_at_the_caller() {
    let site = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&site);
    let this_thread = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == this_thread {
            *seen.lock().unwrap() = info.location().map(|at| (at.file().to_owned(), at.line()));
        } else {
            before(info);
        }
    }));
    let endpoints = || discover::list([("a", Backend::new("a").into())]);
    let line = line!() + 1;
    let spawned = catch_unwind(|| Balancer::spawn::<_, ()>(P2c::default(), endpoints()));
    assert!(spawned.is_err());
    assert_eq!(site.lock().unwrap().take(), Some((file!().to_owned(), line)));
    let line = line!() + 1;
    let spawned = catch_unwind(|| Balancer::builder().spawn(P2c::default(), endpoints()));
    assert!(spawned.is_err());
    assert_eq!(site.lock().unwrap().take(), Some((file!().to_owned(), line)));
    let _ = std::panic::take_hook();
}

#[test]
fn when_the_stream_ends_the_last_endpoints_are_kept() {
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", Backend::new("a")).unwrap();
    assert!(!drive(&mut driver));
    drop(handle);
    assert!(drive(&mut driver));
    assert!(drive(&mut driver), "fused");
    assert_eq!(balancer.status().driver.state, DriverState::Complete);
    assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "a");
}

#[test]
fn when_the_stream_ends_empty_waiting_is_over() {
    let (handle, balancer, mut driver) = with_channel(Balancer::builder());
    let mut service = task::spawn(balancer);
    assert_pending!(ask(&mut service));
    let mut waiting = task::spawn(service.enter(|_, service| service.get_mut().call(())));
    assert_pending!(waiting.poll());
    drop(handle);
    assert!(drive(&mut driver));
    assert!(service.is_woken() && waiting.is_woken());
    assert!(matches!(assert_ready_err!(ask(&mut service)), Error::Closed { .. }));
    assert!(matches!(assert_ready!(waiting.poll()), Err(Error::Closed { .. })));
}

#[test]
fn what_a_static_list_lacks_is_said_and_not_that_there_is_none() {
    let with = |change: fn(Endpoint<Backend>) -> Endpoint<Backend>| {
        discover::list([0, 1].map(|key| (key, change(Endpoint::new(Backend::new(key))))))
    };
    let weightless = with(|endpoint| endpoint.with_weight(0));
    let draining = with(|endpoint| endpoint.with_health(Health::draining("deploy")));
    let ejected = with(|endpoint| endpoint.with_health(Health::unhealthy("ejected")));
    let cases = [
        (Any::new(P2c::default()), weightless, "2 of weight 0"),
        (Any::new(P2c::default()), draining, "2 draining (0 is draining: deploy)"),
        (Any::new(P2c::default()), ejected, "2 unhealthy (0 is unhealthy: ejected)"),
    ];
    for (strategy, endpoints, expected) in cases {
        says(strategy, endpoints, expected);
    }
    let never = Panic::new(P2c::default()).below_share(0.0).unwrap();
    let ill = with(|endpoint| endpoint.with_health(Health::unhealthy("check")));
    says(Any::new(never), ill, "2 unhealthy (0 is unhealthy: check)");
    let closed = Panic::new(P2c::default()).below_count(3).unwrap().mode(PanicMode::Closed);
    let one = discover::list([
        (0, Endpoint::new(Backend::new(0))),
        (1, Endpoint::new(Backend::new(1)).with_health(Health::unhealthy("check"))),
    ]);
    says(Any::new(closed), one, "1 unhealthy, 1 excluded by the strategy (1 is unhealthy: check)");
}

type Any = Dynamic<()>;

/// A request and a look at the readiness fail at once, for the reason expected.
fn says(
    strategy: Any,
    endpoints: impl Discover<Key = i32, Target = Backend, Error = Infallible>,
    expected: &str,
) {
    let (balancer, driver) = Balancer::new::<_, ()>(strategy, endpoints);
    assert!(drive(&mut Box::pin(driver)), "the list has ended");
    let mut service = task::spawn(balancer);
    let expected = format!("none of 2 endpoints is available: {expected}");
    assert_eq!(assert_ready_err!(ask(&mut service)).to_string(), expected);
    let call = service.enter(|_, service| service.get_mut().call(()));
    assert_eq!(call.now_or_never().unwrap().unwrap_err().to_string(), expected);
}

#[test]
fn when_the_driver_is_dropped_the_last_endpoints_are_kept_and_it_is_said() {
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", Backend::new("a")).unwrap();
    drive(&mut driver);
    drop(driver);
    assert_eq!(balancer.status().driver.state, DriverState::Dropped);
    assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "a");

    let (_handle, balancer, driver) = with_channel(Balancer::builder());
    let mut service = task::spawn(balancer);
    assert_pending!(ask(&mut service));
    drop(driver);
    assert!(service.is_woken(), "an empty balancer does not hang");
    assert!(matches!(assert_ready_err!(ask(&mut service)), Error::Closed { .. }));
}

#[tokio::test]
async fn the_driver_ends_with_the_last_balancer() {
    let (_handle, stream) = discover::channel::<&str, Backend>();
    let (balancer, driver) = Balancer::new::<_, ()>(RoundRobin::new(), stream);
    let driver = tokio::spawn(driver);
    let clone = balancer.clone();
    // A request that waits keeps the driver, though its balancer is gone.
    let waiting = tokio::spawn(clone.oneshot(()));
    drop(balancer);
    tokio::task::yield_now().await;
    assert!(!driver.is_finished());
    waiting.abort();
    timeout(Duration::from_secs(5), driver).await.expect("the driver ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_stream_empties_nothing_and_is_retried_with_backoff() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
    let insert = |name| Ok(Update::Insert(name, Backend::new(name).into()));
    sender.send(insert("a")).unwrap();
    for _ in 0..3 {
        sender.send(Err(Failure("resolver down"))).unwrap();
    }
    sender.send(insert("b")).unwrap();
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::new(), stream);

    assert_eq!(balancer.clone().oneshot(()).await.unwrap(), "a");
    sleep(Duration::from_millis(160)).await;
    let status = balancer.status();
    assert_eq!((status.driver.errors, status.endpoints.len()), (3, 1));
    assert_eq!(status.driver.last_error.unwrap().to_string(), "resolver down");

    // 50 ms after the first, 100 after the second, 200 after the third.
    sleep(Duration::from_millis(200)).await;
    let status = balancer.status();
    assert_eq!((status.driver.state, status.endpoints.len()), (DriverState::Running, 2));
    assert!(status.driver.last_error.is_none());
}

/// A source that paces itself is not slowed down further, so that one that fails doesn't hold up
/// others that are merged with it.
#[tokio::test(start_paused = true)]
async fn errors_that_come_slowly_do_not_add_up() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
    let balancer = Balancer::spawn::<_, ()>(RoundRobin::new(), stream);
    for _ in 0..20 {
        sender.send(Err(Failure("resolver down"))).unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    sender.send(Err(Failure("resolver down"))).unwrap();
    sender.send(Ok(Update::Insert("a", Backend::new("a").into()))).unwrap();
    sleep(Duration::from_millis(60)).await;
    assert_eq!(balancer.status().endpoints.len(), 1);
}

#[test]
fn a_burst_of_changes_is_a_handful_of_snapshots() {
    let (handle, stream) = discover::channel();
    let (balancer, driver) = Balancer::new::<_, ()>(P2c::default(), stream);
    for key in 0..10_000 {
        handle.insert(key, Backend::new(key)).unwrap();
    }
    drive(&mut Box::pin(driver));
    let status = balancer.status();
    assert_eq!(status.endpoints.len(), 10_000);
    assert!(status.version <= 6, "{}", status.version);
}

/// The driver gives the thread back after each poll, however much is waiting.
#[test]
fn two_million_changes_are_many_short_polls() {
    let (handle, stream) = discover::channel::<_, ()>();
    for n in 0..2_000_000_u32 {
        handle.insert(n % 1000, Endpoint::new(()).with_weight(n)).unwrap();
    }
    let (balancer, driver) = Balancer::builder().build(RoundRobin::new(), stream).unwrap();
    let mut driver = Box::pin(driver);
    let (woken, waker) = flag();
    let mut polls = 0;
    while polls == 0 || woken.swap(false, Ordering::SeqCst) {
        assert!(driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        polls += 1;
    }
    assert!(polls > 900, "{polls}: at most 2048 changes in each");
    assert_eq!(balancer.status().endpoints[0].attributes.weight(), 1_999_000);
}

#[test]
fn a_removed_endpoint_is_let_go_without_traffic() {
    let a = Backend::new("a");
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    balancer.call(()).now_or_never().unwrap().unwrap();
    let idle = balancer.clone();
    assert!(a.clones() > 1);
    handle.remove("a").unwrap();
    drive(&mut driver);
    assert_eq!(a.clones(), 1, "neither snapshot nor idle balancer holds on to it");
    drop((idle, balancer));
}

/// A clone that has served many requests keeps the snapshot for the next one.
#[test]
fn nor_does_a_clone_that_was_busy_hold_on_to_it() {
    let (a, b) = two();
    let (handle, mut balancer, mut driver) = with_channel(Balancer::builder());
    handle.insert("a", a.clone()).unwrap();
    drive(&mut driver);
    let mut other = balancer.clone();
    for _ in 0..100 {
        balancer.call(()).now_or_never().unwrap().unwrap();
        other.call(()).now_or_never().unwrap().unwrap();
    }
    handle.insert("b", b.clone()).unwrap();
    handle.remove("a").unwrap();
    drive(&mut driver);
    assert_eq!(a.clones(), 1);
    for service in [&mut balancer, &mut other] {
        assert_eq!(service.call(()).now_or_never().unwrap().unwrap(), "b");
    }
    drop((balancer, other, handle, driver));
    assert_eq!(b.clones(), 1);
}

#[test]
fn no_request_sees_endpoints_from_before_the_last_publication() {
    const SETS: u32 = 300;
    let (handle, stream) = discover::channel::<u32, Backend>();
    let (balancer, driver) = Balancer::new::<_, ()>(RoundRobin::starting_at(0), stream);
    let mut driver = Box::pin(driver);
    let backends: Vec<_> = (0..=SETS).map(Backend::new).collect();
    let published = AtomicU32::new(0);
    let mut publish = |set: u32| {
        handle.reset([(set, backends[set as usize].clone())]).unwrap();
        drive(&mut driver);
        published.store(set, Ordering::SeqCst);
    };
    publish(0);
    std::thread::scope(|scope| {
        for mut clone in [balancer.clone(), balancer.clone()] {
            let published = &published;
            scope.spawn(move || {
                loop {
                    let before = published.load(Ordering::SeqCst);
                    let answer: String = clone.call(()).now_or_never().unwrap().unwrap();
                    assert!(answer.parse::<u32>().unwrap() >= before, "{answer} after {before}");
                    if before == SETS {
                        break;
                    }
                }
            });
        }
        for set in 1..=SETS {
            publish(set);
            std::thread::yield_now();
        }
    });
    let alive = backends.iter().filter(|backend| backend.clones() > 1).count();
    assert_eq!(alive, 1, "only the last one is held");
    drop(balancer);
}

#[tokio::test(start_paused = true)]
async fn latency_is_measured_if_the_strategy_looks_at_it() {
    let (a, b) = (Backend::holding("a"), Backend::holding("b"));
    let endpoints = || discover::list([("a", a.clone().into())]);
    let balancer = Balancer::spawn::<_, ()>(P2c::new(PeakEwma::new()), endpoints());
    let request = tokio::spawn(balancer.clone().oneshot(()));
    sleep(Duration::from_millis(40)).await;
    a.answer();
    request.await.unwrap().unwrap();
    let latency = balancer.status().endpoints[0].latency.unwrap();
    assert!(latency.abs_diff(Duration::from_millis(40)) < Duration::from_millis(2), "{latency:?}");

    let balancer =
        Balancer::spawn::<_, ()>(RoundRobin::new(), discover::list([("b", b.clone().into())]));
    let request = tokio::spawn(balancer.clone().oneshot(()));
    sleep(Duration::from_millis(40)).await;
    b.answer();
    request.await.unwrap().unwrap();
    assert_eq!(balancer.status().endpoints[0].latency, None);
}

#[test]
fn what_a_result_says_is_up_to_the_classifier() {
    let by_name = |result: Result<&String, &(dyn std::error::Error + 'static)>| match result {
        Ok(name) if name == "busy" => Outcome::Overload { retry_after: None },
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Timeout,
    };
    let endpoints = discover::list([("busy", Endpoint::new(Backend::new("busy")))]);
    let builder = Balancer::builder().classify(by_name);
    let (mut balancer, driver) = builder.build(RoundRobin::new(), endpoints).unwrap();
    drive(&mut Box::pin(driver));
    balancer.call(()).now_or_never().unwrap().unwrap();
    assert_eq!(balancer.status().endpoints[0].outcomes.overload, 1);
}

#[test]
fn of_duplicate_keys_the_last_counts() {
    let (a, b) = two();
    let endpoints = discover::list([("x", a.into()), ("x", b.into())]);
    let (mut balancer, driver) = Balancer::new::<_, ()>(RoundRobin::new(), endpoints);
    drive(&mut Box::pin(driver));
    assert_eq!(balancer.status().endpoints.len(), 1);
    assert_eq!(balancer.call(()).now_or_never().unwrap().unwrap(), "b");
}

#[test]
fn nonsense_is_rejected_when_built() {
    let build = |builder: Builder| {
        builder
            .build(RoundRobin::new(), discover::list::<&str, Backend>([]))
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(
        build(Balancer::builder().max_outstanding(0)),
        Some("`max_outstanding` is 0: expected at least 1".into())
    );
    assert_eq!(
        build(Balancer::builder().max_wait(Duration::ZERO)),
        Some("`max_wait`: expected `max_outstanding` to be set as well".into())
    );
    assert_eq!(
        build(Balancer::builder().max_waiting(1)),
        Some("`max_waiting`: expected `max_outstanding` to be set as well".into())
    );
    assert_eq!(build(Balancer::builder()), None);
}

/// A service of a user, which names the type of its balancer.
#[derive(Clone)]
struct Users {
    balancer: Balancer<Backend, P2c>,
}

#[tokio::test]
async fn a_balancer_can_be_a_field_of_a_struct() {
    let endpoints = discover::list([("a", Backend::new("a").into())]);
    let users = Users { balancer: Balancer::spawn::<_, ()>(P2c::default(), endpoints) };
    assert_eq!(users.clone().balancer.oneshot(()).await.unwrap(), "a");
}

#[test]
fn balancers_and_futures_can_be_sent_and_shared() {
    fn all<T: Send + Sync>(_: &T) {}
    fn sendable<T: Send>(_: &T) {}
    let (_handle, balancer, driver) = with_channel(Balancer::builder());
    all(&balancer);
    sendable(&driver);
    sendable(&balancer.clone().call(()));
    let _ = Arc::new(balancer);
}
