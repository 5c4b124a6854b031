//! Hedges, in paused time: when they are sent, where to, and what they cost.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinSet, yield_now},
    time::{Instant, advance, sleep},
};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer, BoxError, Error, discover,
    endpoint::Endpoint,
    hedge::{Delay, Hedge, HedgeBuilder, HedgeLayer},
    limit::{Concurrency, ConcurrencyLimitLayer},
    outcome::{CallerError, Classify, Following, OnResponse, Outcome, ResultOnly},
    retry::{Budget, RetryFailures, RetrySafety},
    strategy::{Rng, RoundRobin},
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

type Endpoints = BoxCloneSyncService<Query, &'static str, io::Error>;
type Service_ = Balancer<Endpoints, RoundRobin, Following<OnResponse>>;

/// An endpoint that answers after a while, or fails then.
fn endpoint(name: &'static str, millis: u32, good: bool) -> (&'static str, Endpoint<Endpoints>) {
    let service = service_fn(move |_: Query| async move {
        sleep(millis * MS).await;
        if good { Ok(name) } else { Err(io::Error::other(name)) }
    });
    (name, Endpoint::new(BoxCloneSyncService::new(service)))
}

/// Takes them in turn, beginning with the first.
async fn over<const N: usize>(endpoints: [(&'static str, Endpoint<Endpoints>); N]) -> Service_ {
    let builder = Balancer::builder().track(Following::new(OnResponse::new(ResultOnly)));
    let strategy = RoundRobin::starting_at(0);
    let balancer = builder.spawn(strategy, discover::list(endpoints)).unwrap();
    yield_now().await;
    balancer
}

fn after(delay: Duration) -> HedgeBuilder<RetryFailures> {
    HedgeLayer::builder(RetryFailures::default(), Delay::fixed(delay)).budget(Budget::unlimited())
}

async fn send(
    service: &Hedge<Service_, RetryFailures>,
    query: Query,
) -> (Result<&'static str, BoxError>, Duration) {
    let began = Instant::now();
    (service.clone().oneshot(query).await, began.elapsed())
}

fn cancelled(balancer: &Service_) -> BTreeMap<String, (u64, u64, u32)> {
    let figures = |endpoint: tower_lb::balance::EndpointStatus| {
        let counts = endpoint.outcomes;
        let figures = (counts.success, counts.cancelled, endpoint.outstanding);
        (endpoint.name.to_string(), figures)
    };
    balancer.status().endpoints.into_iter().map(figures).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins_and_the_other_is_cancelled() {
    let balancer = over([endpoint("slow", 1000, true), endpoint("fast", 20, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("fast", 70 * MS));
    let figures = cancelled(&balancer);
    assert_eq!(figures["slow"], (0, 1, 0));
    assert_eq!(figures["fast"], (1, 0, 0));
    assert_eq!(balancer.status().endpoints[0].outcomes.failures(), 0);

    let balancer = over([endpoint("slow", 60, true), endpoint("slower", 500, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("slow", 60 * MS), "the first attempt goes on");
    assert_eq!(cancelled(&balancer)["slower"], (0, 1, 0));
}

/// Fails with an error of the caller after a while.
fn invalid(name: &'static str, millis: u32) -> (&'static str, Endpoint<Endpoints>) {
    let service = service_fn(move |_: Query| async move {
        sleep(millis * MS).await;
        Err(io::Error::other(CallerError::new(name)))
    });
    (name, Endpoint::new(BoxCloneSyncService::new(service)))
}

#[tokio::test(start_paused = true)]
async fn a_final_error_returns_at_once() {
    let balancer = over([invalid("first", 60), endpoint("slow", 1000, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert!(answer.is_err());
    assert_eq!(took, 60 * MS, "the hedge would get the same error");
    assert_eq!(cancelled(&balancer)["slow"], (0, 1, 0));

    // The copy of the hedge may fail alone.
    let balancer = over([endpoint("slow", 200, true), invalid("hedge", 20)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer);
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("slow", 200 * MS));

    // Another error is not final.
    let balancer = over([endpoint("broken", 60, false), endpoint("slow", 1000, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer);
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("slow", 1050 * MS));
}

#[tokio::test(start_paused = true)]
async fn only_slow_and_idempotent_requests_are_hedged() {
    let balancer = over([endpoint("a", 20, true), endpoint("b", 20, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    for _ in 0..10 {
        send(&service, Query::idempotent()).await.0.unwrap();
    }
    assert_eq!(cancelled(&balancer).values().map(|(_, cancelled, _)| cancelled).sum::<u64>(), 0);

    let balancer = over([endpoint("slow", 1000, true), endpoint("fast", 20, true)]).await;
    for retry_safety in [RetrySafety::IfUnsent, RetrySafety::Never] {
        let balancer = balancer.clone();
        let service = after(50 * MS).build().unwrap().layer(balancer.clone());
        let (answer, took) = send(&service, Query::new(retry_safety)).await;
        assert_eq!((answer.unwrap(), took), ("slow", 1000 * MS));
        send(&service, Query::new(retry_safety)).await.0.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_other_endpoint_no_hedge_is_sent() {
    let balancer = over([endpoint("only", 1000, true)]).await;
    let budget = Budget::default();
    let service = after(50 * MS).hedges(3).budget(budget.clone()).build().unwrap();
    let (answer, took) = send(&service.layer(balancer.clone()), Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("only", 1000 * MS));
    assert_eq!(cancelled(&balancer)["only"], (1, 0, 0));
    let status = budget.status().unwrap();
    assert_eq!((status.spent, status.refunded), (1, 1), "what was not sent costs nothing");
    assert_eq!(budget.balance().floor(), 30.0);
}

#[tokio::test(start_paused = true)]
async fn without_budget_no_hedge_is_sent_and_attempts_in_flight_continue() {
    let balancer = over([endpoint("a", 1000, true), endpoint("b", 1000, true)]).await;
    let budget = Budget::builder().share(0.0).floor(0.1).build().unwrap();
    let service = after(50 * MS).budget(budget.clone()).build().unwrap().layer(balancer.clone());
    let mut requests = JoinSet::new();
    for _ in 0..4 {
        let service = service.clone();
        requests.spawn(async move { send(&service, Query::idempotent()).await });
    }
    while let Some(request) = requests.join_next().await {
        let (answer, took) = request.unwrap();
        assert!(answer.is_ok());
        assert_eq!(took, 1000 * MS);
    }
    assert_eq!((budget.spent(), budget.refused()), (1, 3));
    let attempts: u64 = cancelled(&balancer).values().map(|figures| figures.0 + figures.1).sum();
    assert_eq!(attempts, 5);
}

#[tokio::test(start_paused = true)]
async fn several_hedges_go_to_an_endpoint_each() {
    let endpoints = [endpoint("a", 900, true), endpoint("b", 800, true), endpoint("c", 10, true)];
    let balancer = over(endpoints).await;
    let service = after(50 * MS).hedges(2).build().unwrap().layer(balancer.clone());
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("c", 110 * MS));
    let figures = cancelled(&balancer);
    assert_eq!([figures["a"], figures["b"], figures["c"]], [(0, 1, 0), (0, 1, 0), (1, 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_the_attempts_in_flight() {
    let balancer = over([endpoint("failing", 60, false), endpoint("good", 100, true)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer);
    let (answer, took) = send(&service, Query::idempotent()).await;
    assert_eq!((answer.unwrap(), took), ("good", 150 * MS));

    let balancer = over([endpoint("failing", 60, false), endpoint("too", 100, false)]).await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    let (answer, took) = send(&service, Query::idempotent()).await;
    let error = answer.unwrap_err();
    assert_eq!(error.downcast_ref::<Error>().unwrap().endpoint(), Some("failing"));
    assert_eq!(took, 150 * MS);

    // One that fails before it is hedged is not hedged.
    let (answer, took) =
        send(&after(500 * MS).build().unwrap().layer(balancer), Query::idempotent()).await;
    assert!(answer.is_err());
    assert_eq!(took, 60 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_takes_room_when_it_is_sent() {
    let builder = Balancer::builder().max_outstanding(1);
    let builder = builder.track(Following::new(OnResponse::new(ResultOnly)));
    let endpoints = [endpoint("a", 1000, true), endpoint("b", 1000, true)];
    let balancer = builder.spawn(RoundRobin::starting_at(0), discover::list(endpoints)).unwrap();
    yield_now().await;
    let service = after(50 * MS).build().unwrap().layer(balancer.clone());
    let mut request = spawn(service.oneshot(Query::idempotent()));
    assert_pending!(request.poll());
    let outstanding = || cancelled(&balancer).values().map(|figures| figures.2).sum::<u32>();
    assert_eq!(outstanding(), 1);
    advance(51 * MS).await;
    assert_pending!(request.poll());
    assert_eq!(outstanding(), 2);
    drop(request);
    assert_eq!(outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_a_limit_rejects_is_no_answer() {
    let balancer = over([endpoint("a", 100, false), endpoint("b", 10, true)]).await;
    let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).build().unwrap();
    let budget = Budget::default();
    let hedge = after(10 * MS).budget(budget.clone()).build().unwrap();
    let service = hedge.layer(limit.layer(balancer));
    let error = service.oneshot(Query::idempotent()).await.unwrap_err();
    assert!(error.downcast_ref::<tower_lb::Error>().is_some(), "the endpoint's: {error}");
    let status = budget.status().unwrap();
    assert_eq!((status.spent, status.refunded), (1, 1));
}

/// A response that holds the only room there is, and whether it is good.
type Held = (bool, Arc<OwnedSemaphorePermit>);

#[derive(Clone, Copy, Debug)]
struct ByGoodness;

impl Classify<Held> for ByGoodness {
    fn classify(&self, result: Result<&Held, &(dyn std::error::Error + 'static)>) -> Outcome {
        match result {
            Ok((true, _)) => Outcome::Success,
            Ok((false, _)) => Outcome::ApplicationError,
            Err(error) => Outcome::of_error(error),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_does_not_wait_for_the_room_that_it_holds_itself() {
    for (delay, took) in [(10 * MS, 350 * MS), (90 * MS, 350 * MS)] {
        let room = Arc::new(Semaphore::new(1));
        let service = service_fn(move |_: Query| {
            let room = Arc::clone(&room);
            async move {
                let permit = room.acquire_owned().await.unwrap();
                sleep(100 * MS).await;
                Ok::<Held, io::Error>((false, Arc::new(permit)))
            }
        });
        let hedge = HedgeLayer::builder(RetryFailures::new(ByGoodness), Delay::fixed(delay));
        let hedge = hedge.budget(Budget::unlimited()).build().unwrap();
        let began = Instant::now();
        let (good, _room) = hedge.layer(service).oneshot(Query::idempotent()).await.unwrap();
        assert_eq!((good, began.elapsed()), (false, took));
    }
}

/// Without the hedge the answer would be good, so it is with the hedge.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_first_is_no_answer() {
    let room = Arc::new(Semaphore::new(2));
    let calls = Arc::new(AtomicU32::new(0));
    let freed = Arc::clone(&room);
    let service = service_fn(move |_: Query| {
        let (room, first) = (Arc::clone(&room), calls.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            let permit = room.acquire_owned().await.unwrap();
            sleep(if first { 5000 * MS } else { MS }).await;
            Ok::<Held, io::Error>((first, Arc::new(permit)))
        }
    });
    let hedge = HedgeLayer::builder(RetryFailures::new(ByGoodness), Delay::fixed(10 * MS));
    let hedge = hedge.budget(Budget::unlimited()).build().unwrap();
    let mut request = spawn(hedge.layer(service).oneshot(Query::idempotent()));
    assert_pending!(request.poll());
    advance(11 * MS).await;
    assert_pending!(request.poll());
    advance(2 * MS).await;
    assert_pending!(request.poll());
    assert_eq!(freed.available_permits(), 1, "what a hedge's failure holds is let go");
    let (good, _room) = request.await.unwrap();
    assert!(good);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_at_any_time_leaks_nothing() {
    for millis in (0..400).step_by(7) {
        let endpoints =
            [endpoint("a", 300, false), endpoint("b", 200, false), endpoint("c", 50, true)];
        let balancer = over(endpoints).await;
        let budget = Budget::default();
        let hedge = after(50 * MS).hedges(2).budget(budget.clone()).build().unwrap();
        let request = hedge.layer(balancer.clone()).oneshot(Query::idempotent());
        let _ = tokio::time::timeout(millis * MS, request).await;
        let figures = cancelled(&balancer);
        assert!(figures.values().all(|figures| figures.2 == 0), "after {millis} ms");
        let attempts: u64 =
            balancer.status().endpoints.iter().map(|endpoint| endpoint.outcomes.total()).sum();
        assert_eq!(budget.spent(), attempts.saturating_sub(1));
    }
}

/// One answer of a hundred takes 50 times as long, wherever it comes from.
fn heavy_tailed(name: &'static str, rng: &Arc<Mutex<Rng>>) -> (&'static str, Endpoint<Endpoints>) {
    let rng = Arc::clone(rng);
    let service = service_fn(move |_: Query| {
        let draw = rng.lock().unwrap().unit();
        let millis = if draw < 0.01 { 500.0 } else { 5.0 + 10.0 * draw };
        async move {
            sleep(MS.mul_f64(millis)).await;
            Ok::<_, io::Error>(name)
        }
    });
    (name, Endpoint::new(BoxCloneSyncService::new(service)))
}

/// 99th percentile and 99.9th, in ms, of 30 000 requests at 1000 a second.
async fn tail<S>(service: S) -> [f64; 2]
where
    S: Service<Query, Response = &'static str, Error: std::fmt::Debug, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let mut requests = JoinSet::new();
    let mut latencies = Vec::new();
    for n in 0..30_000 {
        let service = service.clone();
        requests.spawn(async move {
            let began = Instant::now();
            service.oneshot(Query::idempotent()).await.unwrap();
            // The delay is not known from the start.
            (n >= 2000).then(|| began.elapsed().as_secs_f64() * 1e3)
        });
        sleep(MS).await;
        while let Some(done) = requests.try_join_next() {
            latencies.extend(done.unwrap());
        }
    }
    latencies.extend(requests.join_all().await.into_iter().flatten());
    latencies.sort_by(f64::total_cmp);
    [0.99, 0.999].map(|share| latencies[(latencies.len() as f64 * share) as usize])
}

#[tokio::test(start_paused = true)]
async fn a_heavy_tail_is_cut_off_within_the_budget() {
    let rng = Arc::new(Mutex::new(Rng::seeded(1)));
    let endpoints = || ["a", "b", "c"].map(|name| heavy_tailed(name, &rng));
    let without = tail(over(endpoints()).await).await;
    let budget = Budget::builder().share(0.05).floor(0.1).build().unwrap();
    let policy = RetryFailures::default();
    let hedge = HedgeLayer::builder(policy, Delay::quantile(0.98)).budget(budget.clone());
    let with = tail(hedge.build().unwrap().layer(over(endpoints()).await)).await;
    let extra = budget.spent() as f64 / 30_000.0;
    println!(
        "p99, p99.9 without: {without:.1?} ms, with: {with:.1?} ms, {:.1} % more",
        extra * 100.0
    );
    assert!(without[1] >= 499.0);
    assert!(with[0] < 40.0 && with[1] < 60.0, "{with:?}");
    assert!(extra < 0.051);
}

#[test]
fn contradictions_are_rejected() {
    for builder in [
        HedgeLayer::builder((), Delay::fixed(Duration::ZERO)),
        HedgeLayer::builder((), Delay::quantile(1.0)),
        HedgeLayer::builder((), Delay::quantile(f64::NAN)),
        HedgeLayer::builder((), Delay::quantile(0.99)).hedges(0),
    ] {
        assert!(builder.build().unwrap_err().to_string().contains("expected"));
    }
}
