//! Retries, in paused time: where they go, when, how many, and what they cost.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer, BoxError, Error, discover,
    endpoint::Endpoint,
    outcome::{Attempts, CallerError, Carry, Classify, Following, OnResponse, Outcome},
    retry::{Backoff, Budget, Retry, RetryBuilder, RetryFailures, RetryLayer, RetrySafety},
    strategy::RoundRobin,
    timeout::{Bound, Elapsed},
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

/// What an endpoint answers: its name and a status, 0 for good.
type Answer = (&'static str, u32);

#[derive(Clone, Copy, Debug)]
struct ByStatus;

impl Classify<Answer> for ByStatus {
    fn classify(&self, result: Result<&Answer, &(dyn std::error::Error + 'static)>) -> Outcome {
        match result {
            Ok((_, 0)) => Outcome::Success,
            Ok((_, 1)) => Outcome::ApplicationError,
            Ok((_, millis)) => Outcome::Overload { retry_after: Some(*millis * MS) },
            Err(error) => Outcome::of_error(error),
        }
    }
}

/// No delay but what is asked for, and a budget that never ends.
fn retries() -> RetryBuilder<RetryFailures<ByStatus>> {
    RetryLayer::builder(RetryFailures::new(ByStatus))
        .backoff(Backoff::full(Duration::ZERO, Duration::ZERO))
        .budget(Budget::unlimited())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(&'static str, Instant)>>>);

impl Log {
    fn names(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    /// The times between attempts.
    fn delays(&self) -> Vec<Duration> {
        self.0.lock().unwrap().windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
    }
}

/// An endpoint that notes when it is called, and answers as told.
fn endpoint(
    name: &'static str,
    log: &Log,
    answer: fn() -> Result<u32, io::Error>,
) -> (&'static str, Endpoint<BoxCloneSyncService<Query, Answer, io::Error>>) {
    let log = log.clone();
    let service = service_fn(move |_: Query| {
        log.0.lock().unwrap().push((name, Instant::now()));
        std::future::ready(answer().map(|status| (name, status)))
    });
    (name, Endpoint::new(BoxCloneSyncService::new(service)))
}

fn ok() -> Result<u32, io::Error> {
    Ok(0)
}

fn status_1() -> Result<u32, io::Error> {
    Ok(1)
}

fn broken() -> Result<u32, io::Error> {
    Err(io::Error::other("broken"))
}

fn refused() -> Result<u32, io::Error> {
    Err(io::ErrorKind::ConnectionRefused.into())
}

/// A balancer over these, first to last.
macro_rules! balancer {
    ($log:expr, $($name:ident: $answer:expr),*) => {{
        let kept = [$(endpoint(stringify!($name), $log, $answer)),*];
        Balancer::builder()
            .track(Following::new(OnResponse::new(ByStatus)))
            .spawn(RoundRobin::starting_at(0), discover::list(kept))
            .unwrap()
    }};
}

async fn send<S>(service: &S, query: Query) -> Result<Answer, BoxError>
where
    S: Service<Query, Response = Answer, Error: Into<BoxError>> + Clone,
{
    service.clone().oneshot(query).await.map_err(Into::into)
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_an_endpoint_not_yet_tried() {
    let log = Log::default();
    let balancer = balancer!(&log, a: broken, b: refused, c: status_1, d: ok);
    let service = retries().attempts(4).build().unwrap().layer(balancer.clone());
    for _ in 0..20 {
        assert_eq!(send(&service, Query::idempotent()).await.unwrap(), ("d", 0));
        let tried: std::collections::BTreeSet<_> = log.names().into_iter().collect();
        assert_eq!(tried.len(), log.names().len(), "none twice: {:?}", log.names());
        log.0.lock().unwrap().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn with_one_endpoint_it_still_retries_and_gives_the_last_answer() {
    let log = Log::default();
    let service = retries().attempts(3).build().unwrap().layer(balancer!(&log, a: status_1));
    assert_eq!(send(&service, Query::idempotent()).await.unwrap(), ("a", 1));
    assert_eq!(log.names(), ["a", "a", "a"]);

    let log = Log::default();
    let service = retries().attempts(2).build().unwrap().layer(balancer!(&log, a: broken));
    let error = send(&service, Query::idempotent()).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Error>().unwrap().endpoint(), Some("a"));
    assert_eq!(log.names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_is_repeated_at_once_and_for_nothing() {
    let log = Log::default();
    let balancer = balancer!(&log, a: refused, b: refused, c: refused, d: ok);
    let budget = Budget::builder().share(0.0).floor(0.1).build().unwrap();
    let retry = retries().attempts(1).budget(budget.clone()).build().unwrap();
    // Not even idempotent.
    for retry_safety in [RetrySafety::IfUnsent, RetrySafety::Idempotent] {
        for _ in 0..8 {
            let service = retry.layer(balancer.clone());
            assert_eq!(send(&service, Query::new(retry_safety)).await.unwrap(), ("d", 0));
        }
    }
    assert!(log.delays().iter().all(Duration::is_zero));
    assert_eq!((budget.spent(), budget.refused()), (0, 0));

    // When all refuse, attempts and budget are what ends it.
    let log = Log::default();
    let balancer = balancer!(&log, a: refused, b: refused);
    let service = retry.layer(balancer);
    assert!(send(&service, Query::idempotent()).await.is_err());
    assert_eq!(log.names().len(), 3, "each once for free, and the last of them on its account");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_safe_is_repeated() {
    let log = Log::default();
    let service = retries().build().unwrap().layer(balancer!(&log, a: broken, b: ok));
    for retry_safety in [RetrySafety::IfUnsent, RetrySafety::Never] {
        let query = Query::new(retry_safety);
        let copies = query.copies();
        let results =
            [send(&service, query.clone()).await.is_ok(), send(&service, query).await.is_ok()];
        assert_eq!(results.iter().filter(|good| **good).count(), 1);
        let copied = copies.load(Ordering::SeqCst);
        assert_eq!(
            copied,
            if retry_safety == RetrySafety::Never { 0 } else { 2 },
            "{retry_safety:?}"
        );
    }
    assert_eq!(log.names().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn delays_are_what_was_asked_for_up_to_a_cap() {
    fn overloaded<const MILLIS: u32>() -> Result<u32, io::Error> {
        Ok(MILLIS)
    }
    let log = Log::default();
    let balancer = balancer!(&log, a: overloaded::<70>);
    let service = retries().attempts(2).build().unwrap().layer(balancer);
    send(&service, Query::idempotent()).await.unwrap();
    assert_eq!(log.delays(), [70 * MS]);

    // The answers do not name their endpoint, so the balancer must know the attempts.
    let followed = || {
        let mut query = Query::idempotent();
        query.carry(Attempts::new());
        query
    };
    let log = Log::default();
    let balancer = balancer!(&log, a: overloaded::<900_000>, b: overloaded::<900_000>);
    let retry = retries().attempts(5).max_pushback(300 * MS).build().unwrap();
    send(&retry.layer(balancer), followed()).await.unwrap();
    assert_eq!(log.names(), ["a", "b"], "no endpoint is asked again before its time");
    assert_eq!(log.delays(), [300 * MS]);

    let log = Log::default();
    let balancer = balancer!(&log, a: overloaded::<900_000>);
    let began = Instant::now();
    send(&retry.layer(balancer), followed()).await.unwrap();
    assert_eq!((log.names(), began.elapsed()), (vec!["a"], Duration::ZERO));
}

/// An invalid body is invalid everywhere.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_caller_is_neither_charged_nor_retried() {
    fn invalid() -> Result<u32, io::Error> {
        Err(io::Error::other(CallerError::new(io::Error::from(io::ErrorKind::ConnectionRefused))))
    }
    let log = Log::default();
    let balancer = balancer!(&log, a: invalid, b: ok);
    let service = retries().build().unwrap().layer(balancer.clone());
    send(&service, Query::idempotent()).await.unwrap_err();
    assert_eq!(log.names(), ["a"]);
    let outcomes = balancer.status().endpoints.remove(0).outcomes;
    assert_eq!((outcomes.failures(), outcomes.cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn delays_grow_and_are_those_of_the_seed() {
    let delays = async |seed| {
        let log = Log::default();
        let retry = retries().attempts(5).backoff(Backoff::decorrelated(10 * MS, 1000 * MS));
        let service = retry.seed(seed).build().unwrap().layer(balancer!(&log, a: broken));
        send(&service, Query::idempotent()).await.unwrap_err();
        log.delays()
    };
    let first = delays(1).await;
    assert_eq!(first.len(), 4);
    assert!(first.iter().all(|delay| (10 * MS..=1000 * MS).contains(delay)), "{first:?}");
    assert_eq!(first, delays(1).await);
    assert_ne!(first, delays(2).await);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_begun_after_the_deadline() {
    let log = Log::default();
    let retry = retries().attempts(100).backoff(Backoff::decorrelated(30 * MS, 30 * MS));
    let service = retry.build().unwrap().layer(balancer!(&log, a: broken));
    let mut query = Query::idempotent();
    query.carry(Attempts::with_deadline(Instant::now() + 100 * MS));
    let began = Instant::now();
    send(&service, query).await.unwrap_err();
    assert_eq!(log.names().len(), 4, "at 0, 30, 60 and 90 ms");
    assert_eq!(began.elapsed(), 90 * MS, "it does not wait for an attempt that won't be made");
}

/// Answers, but never says that it is ready.
#[derive(Clone)]
struct Unready {
    answer: fn() -> Result<u32, io::Error>,
}

impl Service<Query> for Unready {
    type Response = Answer;
    type Error = io::Error;
    type Future = std::future::Ready<Result<Answer, io::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Pending
    }

    fn call(&mut self, _: Query) -> Self::Future {
        std::future::ready((self.answer)().map(|status| ("unready", status)))
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_ends_with_the_backoff_or_the_deadline() {
    let longest = 30 * MS;
    for (answer, deadline, took) in [
        (status_1 as fn() -> _, None, longest),
        (status_1, Some(20 * MS), 20 * MS),
        (broken, Some(20 * MS), 20 * MS),
        (refused, Some(20 * MS), 20 * MS),
    ] {
        let retry = retries().backoff(Backoff::full(Duration::ZERO, longest)).build().unwrap();
        let mut service = retry.layer(Unready { answer });
        let mut query = Query::idempotent();
        let began = Instant::now();
        if let Some(deadline) = deadline {
            query.carry(Attempts::with_deadline(began + deadline));
        }
        let _ = service.call(query).await;
        assert_eq!(began.elapsed(), took);
    }
}

#[tokio::test(start_paused = true)]
async fn without_budget_the_failure_is_returned_at_once() {
    let log = Log::default();
    let budget = Budget::builder().share(0.5).floor(0.0).build().unwrap();
    let retry = retries().attempts(2).budget(budget.clone()).build().unwrap();
    let service = retry.layer(balancer!(&log, a: status_1));
    for _ in 0..100 {
        send(&service, Query::idempotent()).await.unwrap();
    }
    assert_eq!(log.names().len(), 150);
    assert_eq!((budget.spent(), budget.refused()), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_withdrawn_when_the_retry_is_sent() {
    let log = Log::default();
    let budget = Budget::builder().share(0.0).floor(0.1).build().unwrap();
    let retry = retries().attempts(2).backoff(Backoff::decorrelated(10 * MS, 10 * MS));
    let service = retry.budget(budget.clone()).build().unwrap().layer(balancer!(&log, a: status_1));
    assert_eq!(budget.balance(), 1.0);
    tokio::task::yield_now().await;
    let mut dropped = spawn(service.clone().oneshot(Query::idempotent()));
    assert_pending!(dropped.poll());
    drop(dropped);
    assert_eq!(budget.balance(), 1.0, "dropped while it waited: nothing was sent");

    let mut first = spawn(service.clone().oneshot(Query::idempotent()));
    let mut second = spawn(service.clone().oneshot(Query::idempotent()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    advance(11 * MS).await;
    // Both wait for it, one gets it; the other has its first answer still.
    assert_eq!(assert_ready!(first.poll()).unwrap(), ("a", 1));
    assert_eq!(assert_ready!(second.poll()).unwrap(), ("a", 1));
    assert_eq!(log.names().len(), 4);
    assert_eq!((budget.spent(), budget.refused()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_empty_balancer_is_not_asked_again() {
    let log = Log::default();
    let (handle, stream) =
        discover::channel::<&str, BoxCloneSyncService<Query, Answer, io::Error>>();
    let balancer = Balancer::builder()
        .fail_fast(10 * MS)
        .track(Following::new(OnResponse::new(ByStatus)))
        .spawn(RoundRobin::new(), stream)
        .unwrap();
    let service = retries().build().unwrap().layer(balancer);
    let began = Instant::now();
    let error = send(&service, Query::idempotent()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Error::NoEndpoints { .. })));
    assert_eq!(began.elapsed(), 10 * MS);
    let (name, endpoint) = endpoint("a", &log, ok);
    handle.insert(name, endpoint).unwrap();
    send(&service, Query::idempotent()).await.unwrap();
}

/// A service that is ready when told, and says whether it was polled before each call.
#[tokio::test(start_paused = true)]
async fn every_attempt_is_sent_by_a_service_that_was_polled_ready() {
    let backend = tower_lb_test_support::Backend::new("a");
    backend.set_failing(true);
    let policy = RetryFailures::default();
    let retry =
        RetryLayer::builder(policy).attempts(3).budget(Budget::unlimited()).build().unwrap();
    // The backend itself panics if it is called without being ready.
    let mut service: Retry<_, _> = retry.layer(backend.clone());
    let ready = ServiceExt::<Query>::ready(&mut service).await.unwrap();
    ready.call(Query::idempotent()).await.unwrap_err();
    assert_eq!(backend.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_at_any_poll_leaks_nothing() {
    /// Pending once, then as told.
    async fn after_a_poll(result: Result<u32, io::Error>) -> Result<Answer, io::Error> {
        tokio::task::yield_now().await;
        result.map(|status| ("a", status))
    }
    for polls in 0..12 {
        let service = service_fn(|_: Query| after_a_poll(broken()));
        let endpoints = ["a", "b"].map(|name| (name, Endpoint::new(service)));
        let balancer = Balancer::builder()
            .max_outstanding(1)
            .track(Following::new(OnResponse::new(ByStatus)))
            .spawn(RoundRobin::starting_at(0), discover::list(endpoints))
            .unwrap();
        let budget = Budget::builder().share(0.0).floor(1.0).build().unwrap();
        let retry = retries().attempts(4).backoff(Backoff::decorrelated(MS, MS));
        let service = retry.budget(budget.clone()).build().unwrap().layer(balancer.clone());
        tokio::task::yield_now().await;
        let mut request = spawn(service.oneshot(Query::idempotent()));
        for _ in 0..polls {
            if request.poll().is_ready() {
                break;
            }
            advance(2 * MS).await;
        }
        drop(request);
        let status = balancer.status();
        assert!(status.endpoints.iter().all(|endpoint| endpoint.outstanding == 0));
        let attempts: u64 = status.endpoints.iter().map(|end| end.outcomes.total()).sum();
        assert_eq!(budget.spent(), attempts.saturating_sub(1), "after {polls} polls");
    }
}

#[test]
fn contradictions_are_rejected() {
    let error = retries().attempts(0).build().unwrap_err();
    assert!(error.to_string().contains("at least 1"));
    let error = retries().backoff(Backoff::full(2 * MS, MS)).build().unwrap_err();
    assert!(error.to_string().contains("at most `backoff.max`"));
    assert!(retries().overall(Duration::ZERO).build().is_err());
    let late = Backoff::decorrelated(2 * MS, 5 * MS);
    assert!(retries().backoff(late).overall(MS).build().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_overall_time_bounds_all_attempts_together() {
    let retry = retries().attempts(100).backoff(Backoff::decorrelated(30 * MS, 30 * MS));
    let slow = service_fn(|_: Query| async {
        sleep(30 * MS).await;
        Err::<Answer, _>(io::Error::other("broken"))
    });
    let service = retry.clone().overall(100 * MS).build().unwrap().layer(slow);
    let began = Instant::now();
    let error = service.clone().oneshot(Query::idempotent()).await.unwrap_err();
    assert_eq!(error.to_string(), "broken");
    assert_eq!(began.elapsed(), 90 * MS, "0 to 30, 60 to 90, and the next would be at 120");

    let hangs = service_fn(|_: Query| std::future::pending::<Result<Answer, io::Error>>());
    for retry_safety in [RetrySafety::Idempotent, RetrySafety::Never] {
        let service = retry.clone().overall(100 * MS).build().unwrap().layer(hangs);
        let began = Instant::now();
        let error = service.oneshot(Query::new(retry_safety)).await.unwrap_err();
        assert_eq!(error.downcast_ref::<Elapsed>().unwrap().bound(), Bound::Overall);
        assert_eq!(began.elapsed(), 100 * MS);
    }
}
