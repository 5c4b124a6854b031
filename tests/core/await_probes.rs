//! Requests that wait for a probe, and how long.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_lb::{
    Balancer, BoxError, discover,
    endpoint::Endpoint,
    outcome::LoadReport,
    strategy::AwaitProbesLayer,
    strategy::{Candidate, Freshest, Prequal, Probed},
};

const MS: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3600);

/// How endpoint `n` answers a probe: after how long, and with how many requests in flight; `None` if not.
type Answers = fn(usize) -> (Duration, Option<f64>);

#[derive(Clone, Default)]
struct Sent(Arc<AtomicUsize>);

impl Sent {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

type Report = BoxFuture<'static, Result<LoadReport, BoxError>>;

fn probe(answers: Answers, sent: &Sent) -> impl Fn(&Candidate) -> Report + Clone + Send + 'static {
    let sent = sent.clone();
    move |endpoint| {
        sent.0.fetch_add(1, Ordering::Relaxed);
        let (after, requests) = answers(endpoint.name().parse().unwrap());
        Box::pin(async move {
            sleep(after).await;
            let requests = requests.ok_or("it is down")?;
            Ok(LoadReport::new().with_requests_in_flight(requests))
        })
    }
}

/// Answers with its number.
#[derive(Clone)]
struct Server(usize);

impl Service<()> for Server {
    type Response = usize;
    type Error = Infallible;
    type Future = Ready<Result<usize, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(self.0))
    }
}

fn servers(count: usize) -> discover::List<usize, Server> {
    discover::list((0..count).map(|number| (number, Endpoint::new(Server(number)))))
}

/// A strategy that sends no probes but those that requests wait for.
fn quiet(
    answers: Answers,
    sent: &Sent,
) -> Probed<Freshest, impl Fn(&Candidate) -> Report + Clone + Send + 'static> {
    let strategy = Probed::new(probe(answers, sent), Freshest::default());
    strategy.per_request(1e-4).unwrap().timeout(NEVER)
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_all_answers_but_the_slowest_and_goes_by_them() {
    let answers: Answers = |number| match number {
        0 => (20 * MS, Some(0.0)),
        1 => (10 * MS, Some(9.0)),
        _ => (NEVER, Some(0.0)),
    };
    let sent = Sent::default();
    let strategy = quiet(answers, &sent);
    let layer = AwaitProbesLayer::new(strategy.probes());
    let service = layer.layer(Balancer::spawn(strategy, servers(3)));
    let start = Instant::now();
    assert_ne!(service.oneshot(()).await.unwrap(), 1, "it has nine requests");
    assert_eq!((start.elapsed(), sent.take()), (20 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_answers_are_fresh() {
    let sent = Sent::default();
    let strategy = quiet(|_| (10 * MS, Some(0.0)), &sent);
    let probes = strategy.probes();
    let layer = AwaitProbesLayer::new(probes.clone()).max_age(300 * MS);
    let service = layer.layer(Balancer::spawn(strategy, servers(8)));
    assert!(!probes.is_fresh(NEVER), "nothing is known yet");
    service.clone().oneshot(()).await.unwrap();
    let start = Instant::now();
    for _ in 0..30 {
        service.clone().oneshot(()).await.unwrap();
        sleep(10 * MS).await;
    }
    assert_eq!((start.elapsed(), sent.take()), (300 * MS, 3), "of the first request");
    sleep(MS).await;
    service.clone().oneshot(()).await.unwrap();
    assert_eq!((start.elapsed(), sent.take()), (311 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_wait_for_the_same_answers() {
    let sent = Sent::default();
    let strategy = quiet(|number| (MS * number as u32, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes());
    let service = layer.layer(Balancer::spawn(strategy, servers(8)));
    let answers = join_all((0..1000).map(|_| service.clone().oneshot(()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(sent.take(), 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_patience_lasts_nor_often_in_vain() {
    let sent = Sent::default();
    let strategy = quiet(|_| (NEVER, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_wait(30 * MS);
    let service = layer.layer(Balancer::spawn(strategy, servers(8)));
    let start = Instant::now();
    for _ in 0..100 {
        service.clone().oneshot(()).await.unwrap();
        sleep(10 * MS).await;
    }
    assert_eq!((start.elapsed(), sent.take()), (1030 * MS, 3), "the first only");
    sleep(10 * MS).await;
    service.oneshot(()).await.unwrap();
    assert_eq!((start.elapsed(), sent.take()), (1070 * MS, 3), "another look");
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_end_the_wait_when_all_have() {
    let sent = Sent::default();
    let strategy = quiet(|number| (MS * (1 + number as u32), None), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_wait(NEVER);
    let service = layer.layer(Balancer::spawn(strategy, servers(3)));
    let start = Instant::now();
    for _ in 0..100 {
        service.clone().oneshot(()).await.unwrap();
        sleep(10 * MS).await;
    }
    assert_eq!((start.elapsed(), sent.take()), (1003 * MS, 3), "the first only");
    sleep(10 * MS).await;
    service.oneshot(()).await.unwrap();
    assert_eq!((start.elapsed(), sent.take()), (1016 * MS, 3), "another look");
}

/// The third answer of one round comes during the next, and must not end it.
#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_count_for_the_next_round() {
    let answers: Answers = |number| ([10, 20, 25][number] * MS, Some(0.0));
    let sent = Sent::default();
    let strategy = quiet(answers, &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_age(Duration::ZERO);
    let service = layer.layer(Balancer::spawn(strategy, servers(3)));
    let start = Instant::now();
    service.clone().oneshot(()).await.unwrap();
    sleep(MS).await;
    service.oneshot(()).await.unwrap();
    assert_eq!((start.elapsed(), sent.take()), (41 * MS, 6));
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_others_their_answers() {
    let sent = Sent::default();
    let strategy = quiet(|_| (10 * MS, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes());
    let service = layer.layer(Balancer::spawn(strategy, servers(8)));
    let start = Instant::now();
    let gives_up = timeout(5 * MS, service.clone().oneshot(()));
    let (given_up, answer) = tokio::join!(gives_up, service.clone().oneshot(()));
    assert!(given_up.is_err() && answer.is_ok());
    assert_eq!((start.elapsed(), sent.take()), (10 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn one_endpoint_is_asked_once_and_no_endpoints_are_no_wait() {
    let sent = Sent::default();
    let strategy = quiet(|_| (10 * MS, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_wait(NEVER);
    let service = layer.layer(Balancer::spawn(strategy, servers(1)));
    let start = Instant::now();
    service.oneshot(()).await.unwrap();
    assert_eq!((start.elapsed(), sent.take()), (10 * MS, 1));

    let strategy = quiet(|_| (10 * MS, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_wait(NEVER);
    let nobody = Balancer::builder().fail_fast(Duration::ZERO).spawn(strategy, servers(0)).unwrap();
    let start = Instant::now();
    tokio::task::yield_now().await;
    layer.layer(nobody).call(()).await.unwrap_err();
    assert_eq!((start.elapsed(), sent.take()), (Duration::ZERO, 0));
}

/// However probes beside requests have left the turn: two of one endpoint would not be two answers.
#[tokio::test(start_paused = true)]
async fn a_round_asks_different_endpoints_and_one_that_hangs_holds_nobody_up() {
    let answers: Answers = |number| (if number == 0 { 20 * MS } else { MS }, Some(0.0));
    for requests_before in 0..6 {
        let sent = Sent::default();
        let strategy = Probed::new(probe(answers, &sent), Freshest::default()).seed(3);
        let probes = strategy.probes();
        let mut balancer = Balancer::spawn(strategy, servers(3));
        ServiceExt::<()>::ready(&mut balancer).await.unwrap();
        for _ in 0..requests_before {
            balancer.clone().oneshot(()).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        let start = Instant::now();
        probes.fresh(Duration::ZERO, NEVER).await;
        assert_eq!(start.elapsed(), MS, "after {requests_before}");
    }
}

/// Within a wrapper that divides the endpoints, each part asks its own.
#[tokio::test(start_paused = true)]
async fn clones_of_the_strategy_are_asked_too() {
    let sent = Sent::default();
    let strategy = quiet(|_| (MS, Some(0.0)), &sent);
    let probes = strategy.probes();
    let twin = Balancer::spawn(strategy.clone(), servers(3));
    let balancer = Balancer::spawn(strategy, servers(3));
    twin.clone().oneshot(()).await.unwrap();
    balancer.clone().oneshot(()).await.unwrap();
    let start = Instant::now();
    probes.fresh(Duration::ZERO, NEVER).await;
    assert_eq!((start.elapsed(), sent.take()), (MS, 6));
}

#[tokio::test(start_paused = true)]
async fn probes_that_requests_wait_for_are_bounded_as_others_are() {
    let sent = Sent::default();
    let strategy = quiet(|number| (if number == 0 { NEVER } else { MS }, Some(0.0)), &sent);
    let layer = AwaitProbesLayer::new(strategy.probes()).max_age(Duration::ZERO);
    let service = layer.layer(Balancer::spawn(strategy, servers(3)));
    for _ in 0..200 {
        service.clone().oneshot(()).await.unwrap();
        sleep(MS).await;
    }
    // 600 if none were left out: each round leaves one behind that hangs, until there are 64.
    let sent = sent.take();
    assert!((180..=200).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_strategy_that_is_gone() {
    let sent = Sent::default();
    let strategy = quiet(|_| (NEVER, Some(0.0)), &sent);
    let probes = strategy.probes();
    let layer = AwaitProbesLayer::new(probes.clone()).max_wait(NEVER);
    let (balancer, driver) = Balancer::new(strategy, servers(3));
    let driver = tokio::spawn(driver);
    let service = layer.layer(balancer);
    let waits = tokio::spawn(service.clone().oneshot(()));
    sleep(MS).await;
    assert!(!waits.is_finished());
    driver.abort();
    let start = Instant::now();
    waits.await.unwrap().unwrap();
    assert!(probes.is_fresh(Duration::ZERO), "it will get no fresher");
    service.oneshot(()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Gone after a request has asked, and before it has looked at that.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_strategy_that_never_began() {
    let strategy = quiet(|_| (NEVER, Some(0.0)), &Sent::default());
    let mut fresh = tokio_test::task::spawn(strategy.probes().fresh(Duration::ZERO, NEVER));
    assert!(fresh.poll().is_pending());
    drop(strategy);
    assert!(fresh.is_woken());
    assert!(fresh.poll().is_ready());
}

/// Close to Prequal's synchronous mode: each request waits, and the colder one is taken.
#[tokio::test(start_paused = true)]
async fn prequal_waits_for_each_request() {
    let sent = Sent::default();
    let answers: Answers = |number| (MS, Some(if number == 0 { 0.0 } else { 5.0 }));
    let strategy = Prequal::new(probe(answers, &sent)).per_request(1e-4).unwrap();
    let layer = AwaitProbesLayer::new(strategy.probes()).max_age(Duration::ZERO);
    let service = layer.layer(Balancer::spawn(strategy.quantile(0.0).unwrap(), servers(3)));
    let start = Instant::now();
    let mut to_the_first = 0;
    for _ in 0..100 {
        to_the_first += usize::from(service.clone().oneshot(()).await.unwrap() == 0);
        sleep(MS).await;
    }
    assert_eq!((start.elapsed(), sent.take()), (200 * MS, 300));
    assert!(
        to_the_first > 50,
        "more than a third by the share of it that is known: {to_the_first}"
    );
}
