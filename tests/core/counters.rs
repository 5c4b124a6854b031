//! What retries, hedges, failovers, budgets and limits count, in paused time.

use std::{
    collections::BTreeMap,
    future::{pending, ready},
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{Either, join_all, select};
use tokio::{
    task::yield_now,
    time::{Instant, advance, sleep},
};
use tower::{
    BoxError, Layer, Service, ServiceExt, service_fn,
    util::{BoxCloneSyncService, BoxService},
};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    failover::{FailoverLayer, FailoverOn},
    hedge::{Delay, HedgeLayer},
    limit::{
        AdaptiveThrottleLayer, Concurrency, ConcurrencyLimitLayer, RateLimitLayer, RejectReason,
        Rejected,
    },
    outcome::{Attempts, CallerError, Carry, Classify, Following, OnResponse, Outcome},
    retry::{
        Backoff, Budget, RetryBuilder, RetryDecision, RetryFailures, RetryLayer, RetryPolicy,
        RetrySafety, RetryStatus, RetryableRequest,
    },
    strategy::{P2c, Rng, RoundRobin},
    timeout::OverallTimeoutLayer,
};
use tower_lb_test_support::{logs::Logs, request::Query};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(5);

/// A response: 0 for a success, 1 for a failure, or the milliseconds that an overloaded endpoint
/// asks for.
#[derive(Clone, Copy, Debug)]
struct ByStatus;

impl Classify<u32> for ByStatus {
    fn classify(&self, result: Result<&u32, &(dyn std::error::Error + 'static)>) -> Outcome {
        match result {
            Ok(0) => Outcome::Success,
            Ok(1) => Outcome::ApplicationError,
            Ok(&millis) => Outcome::Overload { retry_after: Some(millis * MS) },
            Err(error) => Outcome::of_error(error),
        }
    }
}

/// Retries what [`ByStatus`] calls a failure, and takes 9 for a refusal.
#[derive(Clone, Copy, Debug)]
struct Policy;

impl RetryPolicy<u32> for Policy {
    fn decide(&self, result: Result<&u32, &(dyn std::error::Error + 'static)>) -> RetryDecision {
        match result {
            Ok(9) => RetryDecision::Refused(Outcome::Overload { retry_after: None }),
            result => RetryFailures::new(ByStatus).decide(result),
        }
    }
}

/// A request that can be copied a limited number of times.
#[derive(Debug)]
struct Job {
    id: usize,
    safety: RetrySafety,
    copies_left: Arc<AtomicU32>,
    attempts: Option<Attempts>,
}

impl Job {
    fn new(id: usize, safety: RetrySafety, copies: u32) -> Self {
        Self { id, safety, copies_left: Arc::new(copies.into()), attempts: None }
    }

    fn idempotent() -> Self {
        Self::new(0, RetrySafety::Idempotent, 99)
    }
}

impl Carry for Job {
    fn attempts(&self) -> Option<&Attempts> {
        self.attempts.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.attempts = Some(attempts);
    }
}

impl RetryableRequest for Job {
    fn retry_safety(&self) -> RetrySafety {
        self.safety
    }

    fn try_clone(&self) -> Option<Self> {
        let one_less = |left: u32| left.checked_sub(1);
        self.copies_left.fetch_update(SeqCst, SeqCst, one_less).ok()?;
        let (copies_left, attempts) = (Arc::clone(&self.copies_left), self.attempts.clone());
        Some(Self { id: self.id, safety: self.safety, copies_left, attempts })
    }
}

type Result_ = Result<u32, BoxError>;

fn broken() -> Result_ {
    Err(io::Error::other("broken").into())
}

fn refused() -> Result_ {
    Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
}

fn elapsed() -> Result_ {
    Err(tower::timeout::error::Elapsed::new().into())
}

/// Takes 1 ms for each result in turn, and then for successes.
fn script<const N: usize>(
    results: [fn() -> Result_; N],
) -> BoxCloneSyncService<Job, u32, BoxError> {
    let results = Arc::new(Mutex::new(results.into_iter()));
    BoxCloneSyncService::new(service_fn(move |_: Job| {
        let result = results.lock().unwrap().next().map_or(Ok(0), |result| result());
        async move {
            sleep(MS).await;
            result
        }
    }))
}

fn retries() -> RetryBuilder<Policy> {
    RetryLayer::builder(Policy)
        .backoff(Backoff::decorrelated(10 * MS, 10 * MS))
        .budget(Budget::unlimited())
}

/// Every retry counts under what failed before it, and every request that failed once under what
/// became of it.
#[tokio::test(start_paused = true)]
async fn retries_count_by_what_failed_before() {
    let retry = retries().name("orders").attempts(9).build().unwrap();
    let results: [fn() -> Result_; 8] =
        [broken, broken, elapsed, refused, || Ok(1), || Ok(7), || Ok(9), || Ok(9)];
    let service = retry.layer(script(results));
    assert_eq!(service.oneshot(Job::idempotent()).await.unwrap(), 0);
    let status = retry.status();
    let counts: BTreeMap<_, _> = status.retries.iter().collect();
    let expected = [
        ("application", 1),
        ("overload", 1),
        ("refused", 2),
        ("timeout", 1),
        ("transport", 2),
        ("unsent", 1),
    ];
    assert_eq!(counts, expected.into());
    assert_eq!((status.failed, status.succeeded, status.stopped.total()), (1, 1, 0));
    assert_eq!(
        status.to_string(),
        "orders: 1 requests with failures, 1 succeeded, 0 stopped (none), 0 abandoned; \
         8 retries (2 transport, 1 timeout, 1 overload, 1 application, 2 refused, 1 unsent)"
    );
}

/// Sends one request, and returns what the layer counted.
async fn counted<S>(retry: RetryBuilder<Policy>, service: S, job: Job) -> RetryStatus
where
    S: Service<Job, Response = u32, Error = BoxError> + Clone,
{
    let retry = retry.build().unwrap();
    let _ = retry.layer(service).oneshot(job).await;
    let status = retry.status();
    assert_eq!(status.failed, status.succeeded + status.stopped.total() + status.abandoned);
    status
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_retried_counts_under_the_reason() {
    let always = |result: fn() -> Result_| script([result; 20]);
    let of = |status: RetryStatus| {
        let stops: Vec<_> = status.stopped.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(status.stopped.total(), 1, "{status}");
        (stops[0].0, status.retries.total())
    };
    let empty = Budget::builder().share(0.0).floor(0.01).build().unwrap();
    let deadline = |time: Duration| {
        let attempts = Attempts::with_deadline(Instant::now() + time);
        Job { attempts: Some(attempts), ..Job::idempotent() }
    };
    let not_sent_twice = Job::new(0, RetrySafety::IfUnsent, 99);
    let status = counted(retries(), always(broken), not_sent_twice).await;
    assert_eq!(of(status), ("not_repeatable", 0));
    let status = counted(retries(), always(broken), Job::idempotent()).await;
    assert_eq!(of(status), ("attempts", 2));
    let status = counted(retries().budget(empty.clone()), always(broken), Job::idempotent()).await;
    assert_eq!(of(status), ("budget", 0));
    assert_eq!(empty.refused(), 1);
    // The backoff would end after the deadline, or after the overall time.
    let status = counted(retries(), always(broken), deadline(5 * MS)).await;
    assert_eq!(of(status), ("deadline", 0));
    let status = counted(retries().overall(11 * MS), always(broken), Job::idempotent()).await;
    assert_eq!(of(status), ("deadline", 0));
    // The overall time ends while a retry is in flight.
    let hangs = service_fn({
        let calls = Arc::new(AtomicU32::new(0));
        move |_: Job| match calls.fetch_add(1, SeqCst) {
            0 => Either::Left(ready(broken())),
            _ => Either::Right(pending()),
        }
    });
    let status = counted(retries().overall(50 * MS), hangs, Job::idempotent()).await;
    assert_eq!(of(status), ("deadline", 1));
    // The first copy is for the first attempt.
    let status = counted(retries(), always(broken), Job::new(0, RetrySafety::Idempotent, 1)).await;
    assert_eq!(of(status), ("not_copyable", 0));
    let limited: fn() -> Result_ =
        || Err(Rejected::new("a", RejectReason::QueueFull { limit: 1 }).into());
    let status = counted(retries(), script([broken, limited]), Job::idempotent()).await;
    assert_eq!(of(status), ("final_error", 1));
    let invalid: fn() -> Result_ = || Err(CallerError::new("invalid").into());
    let status = counted(retries(), script([|| Ok(1), invalid]), Job::idempotent()).await;
    assert_eq!(of(status), ("final_error", 1));
    // A first result that is final is no failure.
    for (result, copies) in [(invalid, 9), (limited, 9), (|| Ok(0), 9), (broken, 0)] {
        let job = Job::new(0, RetrySafety::Idempotent, copies);
        assert_eq!(counted(retries(), script([result]), job).await.failed, 0);
    }
    let job = Job::new(0, RetrySafety::Never, 9);
    assert_eq!(counted(retries(), script([broken]), job).await.failed, 0);
}

/// A service that fails once and is never ready again.
#[derive(Clone)]
struct Once {
    used: Arc<AtomicU32>,
    error: bool,
}

impl Service<Job> for Once {
    type Response = u32;
    type Error = BoxError;
    type Future = std::future::Ready<Result_>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.used.load(SeqCst) {
            0 => Poll::Ready(Ok(())),
            _ if self.error => Poll::Ready(Err("gone".into())),
            _ => Poll::Pending,
        }
    }

    fn call(&mut self, _: Job) -> Self::Future {
        self.used.fetch_add(1, SeqCst);
        ready(Ok(1))
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_again_stops_a_retry() {
    for error in [false, true] {
        let once = Once { used: Arc::default(), error };
        let status = counted(retries(), once, Job::idempotent()).await;
        assert_eq!((status.stopped.not_ready, status.stopped.total()), (1, 1));
        let once = Once { used: Arc::default(), error: false };
        let attempts = Some(Attempts::with_deadline(Instant::now() + 15 * MS));
        let status = counted(retries(), once, Job { attempts, ..Job::idempotent() }).await;
        assert_eq!((status.stopped.deadline, status.stopped.total()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_a_long_wait_stops_a_retry() {
    let endpoint = Endpoint::new(service_fn(|_: Query| ready(Ok::<_, io::Error>(5000))));
    let balancer = Balancer::builder()
        .track(Following::new(OnResponse::new(ByStatus)))
        .spawn(RoundRobin::new(), discover::list([("a", endpoint)]))
        .unwrap();
    // Its attempts tell that there is no other endpoint.
    let mut query = Query::idempotent();
    query.carry(Attempts::new());
    let retry = RetryLayer::builder(RetryFailures::new(ByStatus)).build().unwrap();
    assert_eq!(retry.layer(balancer).oneshot(query).await.unwrap(), 5000);
    let status = retry.status();
    assert_eq!((status.stopped.pushback, status.stopped.total()), (1, 1), "{status}");
    assert_eq!(status.retries.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_after_a_failure_counts_as_abandoned() {
    let budget = Budget::default();
    let retry = retries().budget(budget.clone()).build().unwrap();
    // In the first attempt, in the backoff, and in the second attempt.
    let slow = service_fn(|_: Job| async {
        sleep(4 * MS).await;
        broken()
    });
    for (after, failed, retried) in [(2, 0, 0), (8, 1, 0), (16, 2, 1)] {
        {
            let request = pin!(retry.layer(slow).oneshot(Job::idempotent()));
            let timer = pin!(sleep(after * MS));
            assert!(matches!(select(request, timer).await, Either::Right(_)));
        }
        let status = retry.status();
        assert_eq!((status.failed, status.retries.total()), (failed, retried));
        assert_eq!(status.succeeded + status.stopped.total(), 0);
    }
    assert_eq!((retry.status().abandoned, budget.spent()), (2, 1));
}

/// 3000 requests with random results, delays, deadlines, budgets, and callers that give up. One
/// after the other, so that each can be accounted for.
#[tokio::test(start_paused = true)]
async fn every_retry_and_every_failed_request_is_counted_once() {
    let mut rng = Rng::seeded(7);
    let mut seen = [0_u64; 3];
    for round in 0..30 {
        let calls = Arc::new(AtomicU64::new(0));
        let failures = Arc::new(Mutex::new(BTreeMap::<usize, u32>::new()));
        let (counter, failed_jobs) = (Arc::clone(&calls), Arc::clone(&failures));
        let random = Arc::new(Mutex::new(Rng::seeded(round)));
        let service = service_fn(move |job: Job| {
            counter.fetch_add(1, SeqCst);
            let (number, millis) = {
                let mut random = random.lock().unwrap();
                (random.bits() % 14, random.bits() % 20)
            };
            let failed_jobs = Arc::clone(&failed_jobs);
            async move {
                sleep(millis as u32 * MS).await;
                let (result, is_final) = match number {
                    0..=3 => (Ok(0), true),
                    4 => (Err(CallerError::new("invalid").into()), true),
                    5 | 6 => (Ok(1), false),
                    7 => (Ok(30), false),
                    8 => (Ok(9), false),
                    9 => (elapsed(), false),
                    10 | 11 => (refused(), false),
                    _ => (broken(), false),
                };
                if !is_final {
                    *failed_jobs.lock().unwrap().entry(job.id).or_default() += 1;
                }
                result
            }
        });
        let mut builder = RetryLayer::builder(Policy).attempts(1 + (rng.bits() % 4) as u32);
        builder = builder.seed(round).backoff(Backoff::full(10 * MS, 40 * MS));
        if rng.unit() < 0.5 {
            builder = builder.overall(60 * MS);
        }
        let budget = Budget::builder().share(0.5).floor(0.1).build().unwrap();
        let retry = builder.budget(budget.clone()).build().unwrap();
        let mut before = retry.status();
        for id in 0..100 {
            let safety = [RetrySafety::Idempotent, RetrySafety::IfUnsent, RetrySafety::Never]
                [[0, 0, 0, 1, 2][(rng.bits() % 5) as usize]];
            let mut job = Job::new(id, safety, 1 + (rng.bits() % 6) as u32);
            if rng.unit() < 0.3 {
                let time = (rng.bits() % 80) as u32 * MS;
                job.attempts = Some(Attempts::with_deadline(Instant::now() + time));
            }
            let gives_up = if rng.unit() < 0.3 { (rng.bits() % 50) as u32 * MS } else { LONG };
            let result = {
                let request = pin!(retry.layer(service.clone()).oneshot(job));
                match select(request, pin!(sleep(gives_up))).await {
                    Either::Left((result, _)) => Some(result),
                    Either::Right(_) => None,
                }
            };
            let status = retry.status();
            let has_failed = failures.lock().unwrap().contains_key(&id);
            let is_seen = has_failed && safety != RetrySafety::Never;
            assert_eq!(status.failed - before.failed, u64::from(is_seen));
            let succeeded = status.succeeded - before.succeeded;
            let stopped = status.stopped.total() - before.stopped.total();
            let abandoned = status.abandoned - before.abandoned;
            assert_eq!(succeeded + stopped + abandoned, u64::from(is_seen), "{status}");
            if is_seen {
                assert_eq!(abandoned == 1, result.is_none(), "{status}");
                assert_eq!(succeeded == 1, matches!(result, Some(Ok(0))), "{status}");
            }
            let retries = status.retries.total();
            assert_eq!(calls.load(SeqCst), id as u64 + 1 + retries);
            before = status;
        }
        let free = before.retries.unsent;
        assert!(budget.spent() <= before.retries.total());
        assert!(budget.spent() + free >= before.retries.total());
        assert_eq!(budget.refused(), before.stopped.budget);
        for (sum, more) in
            seen.iter_mut().zip([before.succeeded, before.stopped.total(), before.abandoned])
        {
            *sum += more;
        }
    }
    assert!(seen.iter().all(|&seen| seen > 50), "{seen:?}");
}

/// Retries over hedges over a limit over a balancer, all at the same time: each call of an endpoint
/// is a first attempt, a retry or a hedge, unless the limit or the balancer rejected it.
#[tokio::test(start_paused = true)]
async fn retries_hedges_and_limits_add_up_to_what_endpoints_saw() {
    const REQUESTS: u64 = 2000;
    let calls = Arc::new(AtomicU64::new(0));
    let random = Arc::new(Mutex::new(Rng::seeded(3)));
    let endpoints = ["a", "b", "c"].map(|name| {
        let (calls, random) = (Arc::clone(&calls), Arc::clone(&random));
        let service = service_fn(move |_: Query| {
            calls.fetch_add(1, SeqCst);
            let (millis, fails) = {
                let mut random = random.lock().unwrap();
                ((random.bits() % 40) as u32, random.unit() < 0.4)
            };
            async move {
                sleep(millis * MS).await;
                if fails { Err(io::Error::other("broken")) } else { Ok(0_u32) }
            }
        });
        (name, Endpoint::new(service))
    });
    let balancer = Balancer::builder()
        .track(Following::new(OnResponse::new(ByStatus)))
        .spawn(P2c::default(), discover::list(endpoints))
        .unwrap();
    let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(30)).name("calls").build();
    let limit = limit.unwrap();
    let budget = Budget::builder().name("shared").share(0.5).build().unwrap();
    let hedge = HedgeLayer::builder(RetryFailures::new(ByStatus), Delay::fixed(20 * MS))
        .budget(budget.without_deposits())
        .build()
        .unwrap();
    let retry = RetryLayer::builder(RetryFailures::new(ByStatus)).budget(budget.clone());
    let retry = retry.backoff(Backoff::full(5 * MS, 5 * MS)).build().unwrap();
    let service = retry.layer(hedge.layer(limit.layer(balancer)));
    let mut rng = Rng::seeded(4);
    let requests = (0..REQUESTS).map(|_| {
        let (start, gives_up) = ((rng.bits() % 2000) as u32 * MS, rng.unit() < 0.2);
        let gives_up = if gives_up { (rng.bits() % 60) as u32 * MS } else { LONG };
        let service = service.clone();
        async move {
            sleep(start).await;
            let request = pin!(service.oneshot(Query::idempotent()));
            match select(request, pin!(sleep(gives_up))).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            }
        }
    });
    let results = join_all(requests).await;
    let (retry, hedge) = (retry.status(), hedge.status());
    let (budget, limit) = (budget.status().unwrap(), limit.status());
    let is_rejected = |result: &&Option<Result<u32, BoxError>>| matches!(result, Some(Err(error)) if error.is::<Rejected>());
    let rejected = results.iter().filter(is_rejected).count() as u64;
    let (retries, hedges) = (retry.retries.total(), hedge.sent);
    for count in [retries, rejected, retry.abandoned, retry.succeeded, retry.stopped.attempts] {
        assert!(count > 0, "{retry} {limit}");
    }
    for count in [hedge.won, hedge.lost, hedge.rejected, hedge.abandoned] {
        assert!(count > 0, "{hedge}");
    }
    let calls = calls.load(SeqCst);
    assert_eq!(calls, REQUESTS + retries + hedges - hedge.rejected - rejected);
    assert_eq!(REQUESTS + retries + hedges, limit.admitted.unwrap() + limit.rejected.total());
    assert_eq!((limit.in_flight, limit.waiting), (Some(0), 0));
    assert_eq!(limit.rejected.queue_full, limit.rejected.total());
    assert_eq!(hedges, hedge.won + hedge.lost + hedge.rejected + hedge.abandoned);
    assert_eq!(retry.failed, retry.succeeded + retry.stopped.total() + retry.abandoned);
    assert_eq!((budget.spent, budget.refunded), (retries + hedges, hedge.rejected));
    assert_eq!(budget.refused, retry.stopped.budget + hedge.refused);
    assert_eq!(budget.deposits, REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn hedges_count_by_how_they_end() {
    let slow_first = |first: u32, second: u32| {
        let calls = Arc::new(AtomicU32::new(0));
        service_fn(move |_: Query| {
            let millis = if calls.fetch_add(1, SeqCst) == 0 { first } else { second };
            async move {
                sleep(millis * MS).await;
                Ok::<_, BoxError>(0_u32)
            }
        })
    };
    let empty = Budget::builder().share(0.0).floor(0.1).build().unwrap();
    let hedge = HedgeLayer::builder(RetryFailures::new(ByStatus), Delay::fixed(10 * MS));
    let hedge = hedge.name("reads").budget(empty).build().unwrap();
    assert_eq!(hedge.layer(slow_first(50, 5)).oneshot(Query::idempotent()).await.unwrap(), 0);
    assert_eq!(hedge.layer(slow_first(50, 50)).oneshot(Query::idempotent()).await.unwrap(), 0);
    let status = hedge.status();
    assert_eq!((status.sent, status.won, status.lost, status.refused), (1, 1, 0, 1));
    assert_eq!(
        status.to_string(),
        "reads: 1 hedges sent, 1 won, 0 lost, 0 rejected, 0 abandoned; 1 refused by the budget; \
         sent after 10ms"
    );
    let hedge = HedgeLayer::builder(RetryFailures::new(ByStatus), Delay::quantile(0.9));
    assert_eq!(hedge.build().unwrap().status().delay, None);
}

type Region = BoxCloneSyncService<Query, u32, BoxError>;

#[tokio::test(start_paused = true)]
async fn failovers_between_balancers_count_by_reason() {
    let counting = |result: fn() -> Result_, calls: &Arc<AtomicU64>| {
        let calls = Arc::clone(calls);
        let service = service_fn(move |_: Query| {
            calls.fetch_add(1, SeqCst);
            ready(result())
        });
        Endpoint::new(BoxCloneSyncService::new(service))
    };
    let over = |endpoint: Option<_>| {
        let (handle, stream) = discover::channel::<&str, Region>();
        if let Some(endpoint) = endpoint {
            handle.insert("a", endpoint).unwrap();
        }
        let builder = Balancer::builder().fail_fast(Duration::ZERO);
        let builder = builder.track(Following::new(OnResponse::new(ByStatus)));
        (builder.spawn(P2c::default(), stream).unwrap(), handle)
    };
    for (result, safety, reason) in [
        (Some(broken as fn() -> Result_), RetrySafety::Idempotent, "transport"),
        (Some(|| Ok(1)), RetrySafety::Idempotent, "application"),
        (Some(|| Ok(7)), RetrySafety::Idempotent, "overload"),
        (Some(refused), RetrySafety::IfUnsent, "unsent"),
        (Some(broken), RetrySafety::IfUnsent, "stopped"),
        (Some(|| Ok(0)), RetrySafety::Idempotent, "none"),
        (None, RetrySafety::IfUnsent, "unavailable"),
    ] {
        let (near_calls, far_calls) = (Arc::default(), Arc::default());
        let (near, _near) = over(result.map(|result| counting(result, &near_calls)));
        let (far, _far) = over(Some(counting(|| Ok(0), &far_calls)));
        yield_now().await;
        let failover = FailoverLayer::builder(far, RetryFailures::new(ByStatus)).build().unwrap();
        let service = failover.layer(near);
        for _ in 0..5 {
            let mut service = service.clone();
            let request = Query::new(safety);
            // `call` without `ready`: the balancer fails requests that it cannot place.
            let _ = service.ready().await.unwrap().call(request).await;
        }
        let status = failover.status();
        assert_eq!(far_calls.load(SeqCst), status.failovers.total(), "{reason}");
        let counts: Vec<_> = status.failovers.iter().filter(|(_, count)| *count > 0).collect();
        match reason {
            "stopped" | "none" => assert_eq!(counts, []),
            reason => assert_eq!(counts, [(reason, 5)]),
        }
        assert_eq!(status.stopped, if reason == "stopped" { 5 } else { 0 });
        let first = if result.is_some() { 5 } else { 0 };
        assert_eq!(near_calls.load(SeqCst), first);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sticky_failover_tells_when_it_switches_and_returns() {
    let (logs, _collecting) = Logs::collect();
    let is_down = Arc::new(AtomicU32::new(1));
    let down = Arc::clone(&is_down);
    let near =
        service_fn(move |_: Query| ready(if down.load(SeqCst) == 1 { broken() } else { Ok(0) }));
    let far = service_fn(|_: Query| ready(Ok::<_, BoxError>(0)));
    let failover = FailoverLayer::builder(far, RetryFailures::new(ByStatus));
    let failover = failover.name("regions\n").sticky(3, Duration::from_secs(1)).build().unwrap();
    let service = failover.layer(near);
    for _ in 0..10 {
        service.clone().oneshot(Query::idempotent()).await.unwrap();
    }
    let status = failover.status();
    assert_eq!((status.failovers.transport, status.failovers.sticky), (3, 7));
    assert_eq!((status.switches, status.returns), (1, 0));
    is_down.store(0, SeqCst);
    advance(Duration::from_secs(2)).await;
    for _ in 0..10 {
        service.clone().oneshot(Query::idempotent()).await.unwrap();
    }
    let status = failover.status();
    assert_eq!((status.switches, status.returns, status.failovers.total()), (1, 1, 10));
    assert_eq!(
        status.to_string(),
        "regions\\n: 10 requests sent to the fallback (3 transport, 7 sticky), 0 stopped; \
         1 switches to the fallback, 1 returns"
    );
    let events = logs.take();
    let of_failover: Vec<_> =
        events.iter().filter(|event| event.contains("failover=regions\\n")).collect();
    assert_eq!(of_failover.len(), 2, "{events:?}");
    assert!(of_failover[0].contains("failures=3") && of_failover[0].contains("cause=transport"));
    assert!(of_failover[1].contains("lasted=2s"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failover_counts_what_does_not_try_the_primary() {
    /// Never ready, or broken.
    #[derive(Clone)]
    struct NotReady(bool);
    impl Service<Query> for NotReady {
        type Response = u32;
        type Error = BoxError;
        type Future = std::future::Ready<Result_>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if self.0 { Poll::Ready(Err("gone".into())) } else { Poll::Pending }
        }
        fn call(&mut self, _: Query) -> Self::Future {
            unreachable!()
        }
    }
    let far = service_fn(|_: Query| ready(Ok::<_, BoxError>(0)));
    for is_gone in [false, true] {
        let failover = FailoverLayer::builder(far, RetryFailures::new(ByStatus));
        let failover = failover.on(FailoverOn::Overload).build().unwrap();
        let service = failover.layer(NotReady(is_gone));
        for _ in 0..3 {
            service.clone().oneshot(Query::idempotent()).await.unwrap();
        }
        let counts = failover.status().failovers;
        let expected = if is_gone { (0, 3) } else { (3, 0) };
        assert_eq!((counts.not_ready, counts.gone), expected);
    }
}

fn slow() -> BoxCloneSyncService<Query, u32, BoxError> {
    BoxCloneSyncService::new(service_fn(|_: Query| async {
        sleep(100 * MS).await;
        Ok(0)
    }))
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_its_limit() {
    let (logs, _collecting) = Logs::collect();
    let long = format!("<script>\n\u{202e}{}", "x".repeat(10_000));
    let concurrency = ConcurrencyLimitLayer::builder(Concurrency::fixed(2)).queue(1);
    let concurrency = concurrency.max_wait(20 * MS).name(long.as_str()).build().unwrap();
    let rate = RateLimitLayer::new(1.0, 1).unwrap().name("rate");
    let throttle = AdaptiveThrottleLayer::new(ByStatus, 2.0).unwrap().name("throttle").seed(1);
    let requests = (0..5).map(|_| concurrency.layer(slow()).oneshot(Query::idempotent()));
    let results = join_all(requests).await;
    let errors = results.into_iter().filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert_eq!(error.downcast_ref::<Rejected>().unwrap().limit(), long);
        let shown = error.to_string();
        assert!(shown.starts_with(r"rejected by <script>\n\u{202e}xxx"), "{shown}");
    }
    let status = concurrency.status();
    assert_eq!((status.rejected.queue_full, status.rejected.waited_too_long), (2, 1));
    assert_eq!((status.admitted, status.in_flight, status.limit), (Some(2), Some(0), Some(2.0)));
    assert!(!status.to_string().contains('\n'));

    for _ in 0..5 {
        let _ = rate.layer(slow()).oneshot(Query::idempotent()).await;
    }
    assert_eq!(rate.status().rejected.rate, 4);
    assert_eq!(
        rate.status().to_string(),
        "rate: 1 requests per second, 0 waiting; 4 rejected (4 rate)"
    );
    let overloaded = service_fn(|_: Query| ready(Ok::<_, BoxError>(7)));
    let mut rejected = 0;
    for _ in 0..1000 {
        let result = throttle.layer(overloaded).oneshot(Query::idempotent()).await;
        rejected += u64::from(result.is_err_and(|error| error.is::<Rejected>()));
    }
    let status = throttle.status();
    assert_eq!((status.rejected.throttled, status.rejected.total()), (rejected, rejected));
    assert!(rejected > 0 && status.rejected_share.unwrap() > 0.5);

    // One event for each, until it has rejected nothing for a while.
    let events = logs.take();
    let begun = |events: &[String]| {
        events.iter().filter(|event| event.starts_with("a limit has begun")).count()
    };
    assert_eq!(begun(&events), 3, "{events:?}");
    assert!(events.iter().all(|event| !event.contains('\n')));
    advance(Duration::from_secs(15)).await;
    for _ in 0..3 {
        let _ = rate.layer(slow()).oneshot(Query::idempotent()).await;
    }
    let events = logs.take();
    assert_eq!(begun(&events), 1, "{events:?}");
    assert!(events[0].contains(" limit=rate cause=the rate limit is exceeded"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_a_rate_are_counted_until_they_go() {
    let rate = RateLimitLayer::new(10.0, 1).unwrap().max_wait(LONG);
    let mut services: Vec<_> = (0..4).map(|_| BoxService::new(rate.layer(slow()))).collect();
    let mut requests = Vec::new();
    for service in &mut services {
        requests.push(tokio_test::task::spawn(service.call(Query::idempotent())));
    }
    let waiting = || rate.status().waiting;
    assert_eq!(waiting(), 3);
    requests.pop();
    assert_eq!(waiting(), 2);
    advance(150 * MS).await;
    requests.iter_mut().for_each(|request| drop(request.poll()));
    assert_eq!(waiting(), 1);
    drop(requests);
    assert_eq!(waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_budget_has_a_name_and_tells_once_that_it_is_exhausted() {
    let (logs, _collecting) = Logs::collect();
    let budget = Budget::builder().name("writes").share(0.1).floor(0.1).build().unwrap();
    let retry = retries().budget(budget.clone()).build().unwrap();
    for _ in 0..40 {
        let _ = retry.layer(script([broken; 3])).oneshot(Job::idempotent()).await;
    }
    let status = budget.status().unwrap();
    assert_eq!(status.name.as_ref(), "writes");
    assert_eq!((status.deposits, status.refunded), (40, 0));
    assert!(status.spent >= 3 && status.balance < 1.0, "{status}");
    assert_eq!(status.spent, retry.status().retries.total());
    let events = logs.take();
    let exhausted: Vec<_> = events.iter().filter(|event| event.contains("exhausted")).collect();
    assert_eq!(exhausted.len(), 1, "{events:?}");
    assert!(exhausted[0].contains(" budget=writes"));
    assert_eq!(Budget::unlimited().status(), None);
    // A budget of a layer's own has the layer's name.
    let retry = RetryLayer::builder(Policy).name("writes").build().unwrap();
    assert_eq!(retry.budget().status().unwrap().name.as_ref(), "writes");
    assert!(
        retry.budget().status().unwrap().to_string().starts_with("writes: 30.0 left, 0 spent"),
        "{}",
        retry.budget().status().unwrap()
    );
}

/// A deadline that an outer layer sets reaches the retries, and its end is the caller's.
#[tokio::test(start_paused = true)]
async fn an_outer_timeout_stops_retries_or_abandons_them() {
    let retry = retries().attempts(100).build().unwrap();
    let timeout = OverallTimeoutLayer::new(25 * MS);
    let service = timeout.layer(retry.layer(script([broken; 99])));
    assert!(service.oneshot(Job::idempotent()).await.is_err());
    let status = retry.status();
    assert_eq!((status.stopped.deadline, status.stopped.total()), (1, 1));
    assert_eq!(status.retries.transport, 2);
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn statuses_are_serialized_with_the_names_of_their_fields() {
    let json = |status: serde_json::Result<serde_json::Value>| status.unwrap();
    let retry = retries().name("a\"\n").build().unwrap();
    let _ = retry.layer(script([broken])).oneshot(Job::idempotent()).await;
    let status = json(serde_json::to_value(retry.status()));
    assert_eq!(status["name"], "a\"\n");
    assert_eq!(status["retries"]["transport"], 1);
    assert_eq!(status["stopped"]["not_repeatable"], 0);
    let status = json(serde_json::to_value(Budget::default().status()));
    assert_eq!((&status["window"], &status["balance"]), (&10.0.into(), &30.0.into()));
    let hedge = HedgeLayer::builder(Policy, Delay::fixed(15 * MS)).build().unwrap();
    assert_eq!(json(serde_json::to_value(hedge.status()))["delay"], 0.015);
    let hedge = HedgeLayer::builder(Policy, Delay::never()).build().unwrap();
    assert!(json(serde_json::to_value(hedge.status()))["delay"].is_null());
    let rate = RateLimitLayer::new(5.0, 1).unwrap();
    let status = json(serde_json::to_value(rate.status()));
    assert_eq!((&status["kind"], &status["limit"]), (&"rate".into(), &5.0.into()));
    assert!(status["in_flight"].is_null());
}
