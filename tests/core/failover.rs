//! Going over to a second service, staying there, and coming back.

use std::{
    future::{self, Ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, advance, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    failover::{Failover, FailoverLayer, FailoverOn},
    limit::{Concurrency, ConcurrencyLimitLayer},
    outcome::{Attempts, CallerError, Carry, Classify, Outcome},
    retry::{RetryFailures, RetrySafety},
    strategy::P2c,
    timeout::OverallTimeoutLayer,
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

type Region = BoxCloneSyncService<Query, &'static str, BoxError>;

/// For [`State::down`]: the request is invalid.
const INVALID: u32 = 2;

/// A service that is up or down, and counts requests.
#[derive(Clone, Default)]
struct State {
    down: Arc<AtomicU32>,
    requests: Arc<AtomicU32>,
}

impl State {
    fn set_down(&self, down: bool) {
        self.down.store(down.into(), Ordering::SeqCst);
    }

    fn requests(&self) -> u32 {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

fn region(name: &'static str) -> (State, Region) {
    let state = State::default();
    let shared = state.clone();
    let service = service_fn(move |_: Query| {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        std::future::ready(match shared.down.load(Ordering::SeqCst) {
            0 => Ok(name),
            INVALID => Err(CallerError::new("invalid").into()),
            _ => Err(io::Error::other("down").into()),
        })
    });
    (state, BoxCloneSyncService::new(service))
}

async fn send(
    service: &Failover<Region, Region, RetryFailures>,
    query: Query,
) -> Result<&'static str, BoxError> {
    service.clone().oneshot(query).await
}

#[tokio::test(start_paused = true)]
async fn each_attempt_that_fails_goes_over_if_it_may_be_repeated() {
    let ((near_state, near), (far_state, far)) = (region("near"), region("far"));
    let failover =
        FailoverLayer::builder(far, RetryFailures::default()).build().unwrap().layer(near);
    assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "near");
    near_state.set_down(true);
    assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "far");
    send(&failover, Query::new(RetrySafety::IfUnsent)).await.unwrap_err();
    send(&failover, Query::new(RetrySafety::Never)).await.unwrap_err();
    assert_eq!((near_state.requests(), far_state.requests()), (4, 1));
    far_state.set_down(true);
    send(&failover, Query::idempotent()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_sticky_one_stays_and_comes_back_by_a_probe() {
    let ((near_state, near), (far_state, far)) = (region("near"), region("far"));
    let failover = FailoverLayer::builder(far, RetryFailures::default()).sticky(3, 1000 * MS);
    let failover = failover.build().unwrap().layer(near);
    near_state.set_down(true);
    for _ in 0..10 {
        assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "far");
    }
    assert_eq!((near_state.requests(), far_state.requests()), (3, 10));
    advance(1001 * MS).await;
    for _ in 0..10 {
        assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "far");
    }
    assert_eq!((near_state.requests(), far_state.requests()), (1, 10), "one probe, which failed");
    near_state.set_down(false);
    assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "far");
    advance(1001 * MS).await;
    for _ in 0..10 {
        assert_eq!(send(&failover, Query::idempotent()).await.unwrap(), "near");
    }
    assert_eq!((near_state.requests(), far_state.requests()), (10, 1));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_caller_says_nothing_about_the_first() {
    let ((near_state, near), (far_state, far)) = (region("near"), region("far"));
    let failover = FailoverLayer::builder(far, RetryFailures::default()).sticky(2, 1000 * MS);
    let failover = failover.build().unwrap().layer(near);
    let invalid = async || {
        near_state.down.store(INVALID, Ordering::SeqCst);
        send(&failover, Query::idempotent()).await.unwrap_err();
        near_state.set_down(true);
    };
    invalid().await;
    assert_eq!(far_state.requests(), 0, "the request is invalid there, too");
    send(&failover, Query::idempotent()).await.unwrap();
    invalid().await;
    send(&failover, Query::idempotent()).await.unwrap();
    assert_eq!(near_state.requests(), 4);
    send(&failover, Query::idempotent()).await.unwrap();
    assert_eq!(near_state.requests(), 0, "two failures, whatever came between");
    advance(1001 * MS).await;
    invalid().await;
    send(&failover, Query::idempotent()).await.unwrap();
    assert_eq!(near_state.requests(), 2, "the next request is the probe instead");
}

/// One that is not ready at once, as a balancer whose endpoints are all unhealthy.
#[tokio::test(start_paused = true)]
async fn a_probe_of_a_first_that_is_not_ready_hangs_nobody() {
    let (near_state, near) = region("near");
    let (_, far) = region("far");
    let (handle, stream) = discover::channel::<&str, Region>();
    let balancer = Balancer::spawn(P2c::default(), stream);
    let failover = FailoverLayer::builder(far, RetryFailures::default()).sticky(1, 100 * MS);
    let service = failover.build().unwrap().layer(balancer);
    handle.insert("a", Endpoint::new(near.clone())).unwrap();
    near_state.set_down(true);
    let query = Query::idempotent;
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "far");
    handle.remove("a").unwrap();
    for _ in 0..5 {
        advance(101 * MS).await;
        let answer = service.clone().oneshot(query()).now_or_never();
        assert_eq!(answer.expect("nobody waits").unwrap(), "far");
    }
    near_state.set_down(false);
    handle.insert("a", Endpoint::new(near)).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "near", "the turn was kept");
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "near", "and it is back");
}

#[tokio::test(start_paused = true)]
async fn each_service_goes_over_by_itself() {
    let (_, far) = region("far");
    let layer = FailoverLayer::builder(far, RetryFailures::default()).sticky(1, 100 * MS);
    let layer = layer.build().unwrap();
    let ((down, one), (_, other)) = (region("one"), region("other"));
    down.set_down(true);
    let (one, other) = (layer.layer(one), layer.layer(other));
    assert_eq!(send(&one, Query::idempotent()).await.unwrap(), "far");
    assert_eq!(send(&other, Query::idempotent()).await.unwrap(), "other");
}

#[tokio::test(start_paused = true)]
async fn on_overload_only_what_is_too_much_spills_over() {
    let near = service_fn(|_: Query| async {
        sleep(100 * MS).await;
        Ok::<_, BoxError>("near")
    });
    let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(2)).build().unwrap();
    let near = BoxCloneSyncService::new(limit.layer(near));
    let (_, far) = region("far");
    let failover = FailoverLayer::builder(far, RetryFailures::default()).on(FailoverOn::Overload);
    let failover = failover.build().unwrap();
    let service = failover.layer(near);
    // Not sent, so it need not be idempotent.
    let requests = [(); 5].map(|()| service.clone().oneshot(Query::new(RetrySafety::IfUnsent)));
    let answers = futures::future::try_join_all(requests).await.unwrap();
    assert_eq!(answers, ["near", "near", "far", "far", "far"]);
    // Failures are not overload.
    let (near_state, near) = region("near");
    near_state.set_down(true);
    send(&failover.layer(near), Query::idempotent()).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_region_without_endpoints_is_left() {
    let (_, far) = region("far");
    let (handle, stream) = discover::channel::<&str, Region>();
    let near = Balancer::builder().fail_fast(10 * MS).spawn(P2c::default(), stream).unwrap();
    let failover = FailoverLayer::builder(far, RetryFailures::default()).build().unwrap();
    let service = failover.layer(near);
    let query = || Query::new(RetrySafety::IfUnsent);
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "far");
    handle.insert("a", Endpoint::new(region("near").1)).unwrap();
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "near");
    handle.remove("a").unwrap();
    drop(handle);
    tokio::task::yield_now().await;
    assert_eq!(service.clone().oneshot(query()).await.unwrap(), "far", "never again");
}

/// A response that holds the room it was given, as one with a body does.
type Held = (&'static str, Arc<OwnedSemaphorePermit>);

/// What the endpoint called "bad" answers is a failure.
#[derive(Clone, Copy, Debug)]
struct ByName;

impl Classify<Held> for ByName {
    fn classify(&self, result: Result<&Held, &(dyn std::error::Error + 'static)>) -> Outcome {
        match result {
            Ok(("bad", _)) => Outcome::ApplicationError,
            Ok(_) => Outcome::Success,
            Err(error) => Outcome::of_error(error),
        }
    }
}

/// Is ready when there is room, and gives that to the response.
#[derive(Clone)]
struct Roomy {
    name: &'static str,
    room: Arc<Semaphore>,
    taken: Option<Arc<OwnedSemaphorePermit>>,
}

impl Roomy {
    fn new(name: &'static str, room: &Arc<Semaphore>) -> Self {
        Self { name, room: Arc::clone(room), taken: None }
    }
}

impl Service<Query> for Roomy {
    type Response = Held;
    type Error = BoxError;
    type Future = Ready<Result<Held, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // The permit is never released here, so there is no task to wake.
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return Poll::Pending };
        self.taken = Some(Arc::new(permit));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Query) -> Self::Future {
        future::ready(Ok((self.name, self.taken.take().expect("polled ready"))))
    }
}

/// The first's answer, and how long it took, where both services share the only room.
async fn over_shared_room(max_wait: Option<Duration>, query: Query) -> (&'static str, Duration) {
    let room = Arc::new(Semaphore::new(1));
    let second = Roomy::new("second", &room);
    let mut builder = FailoverLayer::builder(second, RetryFailures::new(ByName));
    if let Some(max_wait) = max_wait {
        builder = builder.max_wait(max_wait);
    }
    let service = builder.build().unwrap().layer(Roomy::new("bad", &room));
    let began = Instant::now();
    let (name, _room) = service.oneshot(query).await.unwrap();
    (name, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_does_not_wait_for_the_room_that_it_holds_itself() {
    let query = Query::idempotent;
    assert_eq!(over_shared_room(None, query()).await, ("bad", 250 * MS), "the default");
    for millis in [0, 1, 1000] {
        let max_wait = millis * MS;
        assert_eq!(over_shared_room(Some(max_wait), query()).await, ("bad", max_wait));
    }
    let mut hurried = query();
    hurried.carry(Attempts::with_deadline(Instant::now() + 10 * MS));
    assert_eq!(over_shared_room(None, hurried).await, ("bad", 10 * MS), "the deadline");
    // No clock can tell when that is over; the deadline counts all the same.
    let mut hurried = query();
    hurried.carry(Attempts::with_deadline(Instant::now() + 10 * MS));
    assert_eq!(over_shared_room(Some(Duration::MAX), hurried).await, ("bad", 10 * MS));
}

/// The second is not ready until it has an endpoint.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_first_waits_no_longer_than_a_response() {
    let (near_state, near) = region("near");
    near_state.set_down(true);
    let (handle, stream) = discover::channel::<&str, Region>();
    let far = Balancer::spawn(P2c::default(), stream);
    let failover = FailoverLayer::builder(far, RetryFailures::default()).build().unwrap();
    let service = failover.layer(near);
    let began = Instant::now();
    let error = service.clone().oneshot(Query::idempotent()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), began.elapsed()), ("down", 250 * MS));

    let began = Instant::now();
    let request = service.clone().oneshot(Query::idempotent());
    let insert = async {
        sleep(200 * MS).await;
        handle.insert("a", Endpoint::new(region("far").1)).unwrap();
    };
    let (answer, ()) = futures::future::join(request, insert).await;
    assert_eq!((answer.unwrap(), began.elapsed()), ("far", 200 * MS), "ready in time");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_the_second_after_the_deadline() {
    let near = service_fn(|_: Query| async {
        sleep(100 * MS).await;
        Err::<&str, BoxError>("late".into())
    });
    let (far_state, far) = region("far");
    let failover = FailoverLayer::builder(far, RetryFailures::default()).build().unwrap();
    let mut query = Query::idempotent();
    query.carry(Attempts::with_deadline(Instant::now() + 50 * MS));
    assert_eq!(failover.layer(near).oneshot(query).await.unwrap_err().to_string(), "late");
    assert_eq!(far_state.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_at_any_time_leaks_nothing() {
    let slow = |good: bool| {
        service_fn(move |_: Query| async move {
            sleep(20 * MS).await;
            if good { Ok("far") } else { Err(io::Error::other("down")) }
        })
    };
    for millis in 0..50 {
        let region = |good| {
            let endpoints = discover::list([("a", Endpoint::new(slow(good)))]);
            Balancer::builder().max_outstanding(1).spawn(P2c::default(), endpoints).unwrap()
        };
        let (near, far) = (region(false), region(true));
        tokio::task::yield_now().await;
        let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).build().unwrap();
        let failover =
            FailoverLayer::builder(far.clone(), RetryFailures::default()).build().unwrap();
        let service = limit.layer(failover.layer(near.clone()));
        let overall = OverallTimeoutLayer::new(45 * MS).layer(service);
        let _ = tokio::time::timeout(millis * MS, overall.oneshot(Query::idempotent())).await;
        for region in [near, far] {
            assert_eq!(region.status().endpoints[0].outstanding, 0, "after {millis} ms");
            let again = region.oneshot(Query::idempotent()).now_or_never();
            assert!(again.is_none(), "the place is free, so the request is under way");
        }
        assert_eq!((limit.in_flight(), limit.waiting()), (0, 0), "after {millis} ms");
    }
}

#[test]
fn contradictions_are_rejected() {
    let build = || FailoverLayer::builder((), ());
    assert!(build().sticky(0, MS).build().is_err());
    assert!(build().sticky(1, Duration::ZERO).build().is_err());
    assert!(build().sticky(1, MS).on(FailoverOn::Overload).build().is_err());
}
