//! A source that is asked again and again: when, and what becomes of its answers and errors.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, sleep};
use tower::service_fn;
use tower_lb::{
    Balancer, BoxError,
    discover::{self, DiscoverExt, Fetched, Refresh, Schedule, Update},
    endpoint::Endpoint,
    strategy::RoundRobin,
};

const SECOND: Duration = Duration::from_secs(1);

type Answers = Arc<Mutex<VecDeque<Result<Fetched<u32, u32>, BoxError>>>>;

fn all(endpoints: impl IntoIterator<Item = u32>) -> Fetched<u32, u32> {
    Fetched::new(endpoints.into_iter().map(|n| (n, Endpoint::new(n))))
}

fn reset(endpoints: impl IntoIterator<Item = u32>) -> Update<u32, u32> {
    Update::Reset(endpoints.into_iter().map(|n| (n, Endpoint::new(n))).collect())
}

/// Gives these answers, and none at all when they are used up.
fn source(
    schedule: Schedule,
    answers: impl IntoIterator<Item = Result<Fetched<u32, u32>, &'static str>>,
) -> Refresh<u32, u32> {
    let answers = answers.into_iter().map(|answer| answer.map_err(BoxError::from));
    let answers: Answers = Arc::new(Mutex::new(answers.collect()));
    let fetch = move || {
        let answer = answers.lock().unwrap().pop_front();
        async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    };
    discover::refresh("table", schedule, fetch).unwrap().seed(7)
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_again_when_an_answer_is_no_longer_valid() {
    let schedule = Schedule::new().jitter(0.0).floor(2 * SECOND).ceiling(60 * SECOND);
    let mut source = source(
        schedule,
        [
            Ok(all([1])),
            Ok(all([2]).valid_for(7 * SECOND)),
            Ok(all([3]).valid_for(Duration::ZERO)),
            Ok(all([4]).valid_for(Duration::MAX)),
            Ok(all([5])),
        ],
    );
    let start = Instant::now();
    for (n, at) in [(1, 0), (2, 30), (3, 37), (4, 39), (5, 99)] {
        assert_eq!(source.next().await.unwrap().unwrap(), reset([n]));
        assert_eq!(start.elapsed().as_secs(), at, "answer {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_are_lengthened_at_random_and_never_shortened() {
    let mut source = source(Schedule::new().jitter(0.5), (0..100).map(|n| Ok(all([n]))));
    source.next().await;
    let mut pauses = Vec::new();
    for _ in 1..100 {
        let start = Instant::now();
        source.next().await;
        pauses.push(start.elapsed().as_secs_f64());
    }
    assert!(pauses.iter().all(|pause| (30.0..45.1).contains(pause)), "{pauses:?}");
    let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
    assert!((36.0..39.0).contains(&mean), "{mean} is not about 37.5");
}

#[tokio::test(start_paused = true)]
async fn what_says_the_same_is_no_update() {
    let answers = [
        Ok(all([1, 2])),
        Ok(all([1, 2])),
        Ok(Fetched::unchanged()),
        Err("down"),
        Ok(all([1, 2])),
        Ok(all([])),
    ];
    let mut source = source(Schedule::new(), answers);
    let status = source.status();
    assert_eq!(source.next().await.unwrap().unwrap(), reset([1, 2]));
    assert_eq!(source.next().await.unwrap().unwrap_err().to_string(), "table: down");
    assert_eq!((status.report().successes, status.report().endpoints), (3, 2));
    assert_eq!(source.next().await.unwrap().unwrap(), reset([]), "an explicit answer");
    assert_eq!((status.report().successes, status.report().endpoints), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_and_tried_again_with_backoff() {
    let errors = (0..8).map(|_| Err("down"));
    let mut source = source(Schedule::new(), errors.chain([Ok(all([1]))]));
    let status = source.status();
    assert_eq!((status.age(), status.report().failures), (None, 0));
    let mut last = Instant::now();
    // The pause before each attempt lies between a half and the whole of this.
    for (n, longest) in [0, 1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        let error = source.next().await.unwrap().unwrap_err();
        assert_eq!((error.source_name(), error.to_string()), ("table", "table: down".into()));
        assert_eq!(error.cause().unwrap().to_string(), "down");
        assert_eq!(status.report().failures as usize, n + 1);
        let pause = last.elapsed().as_secs_f64();
        let longest = f64::from(longest);
        assert!((longest / 2.0..=longest + 0.01).contains(&pause), "attempt {n}: {pause}");
        last = Instant::now();
    }
    assert_eq!(source.next().await.unwrap().unwrap(), reset([1]));
    let report = status.report();
    assert_eq!((report.failures, report.last_error.is_none()), (0, true));
    sleep(5 * SECOND).await;
    assert_eq!(status.age(), Some(5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up() {
    let mut source = source(Schedule::new().timeout(3 * SECOND), []);
    let start = Instant::now();
    let error = source.next().await.unwrap().unwrap_err();
    assert_eq!((start.elapsed(), error.to_string()), (3 * SECOND, "table: no answer in 3s".into()));
    assert!(error.cause().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_before_its_time_if_somebody_wants_it_but_not_too_often() {
    let schedule = Schedule::new().jitter(0.0).floor(2 * SECOND).backoff(8 * SECOND, 8 * SECOND);
    let answers = [Ok(all([1])), Ok(all([2])), Err("down"), Ok(all([3])), Ok(all([4]))];
    let mut source = source(schedule, answers);
    let status = source.status();
    source.next().await;
    let start = Instant::now();
    let handle = status.clone();
    tokio::spawn(async move {
        sleep(5 * SECOND).await;
        handle.ask_again();
    });
    assert_eq!(source.next().await.unwrap().unwrap(), reset([2]));
    assert_eq!(start.elapsed(), 5 * SECOND, "woken");
    status.ask_again();
    source.next().await.unwrap().unwrap_err();
    assert_eq!(start.elapsed(), 7 * SECOND, "not before the floor");
    status.ask_again();
    assert_eq!(source.next().await.unwrap().unwrap(), reset([3]));
    let pause = start.elapsed() - 7 * SECOND;
    assert!(
        (4 * SECOND..=8 * SECOND).contains(&pause),
        "{pause:?} is not the pause after an error"
    );
    let start = Instant::now();
    assert_eq!(source.next().await.unwrap().unwrap(), reset([4]));
    assert_eq!(start.elapsed(), 30 * SECOND, "wanted once, asked once");
}

/// The driver polls it while no request comes, and an outage of any length changes nothing.
#[tokio::test(start_paused = true)]
async fn a_balancer_is_kept_up_to_date_and_loses_nothing() {
    let errors = (0..1000).map(|_| Err("down"));
    let answers = [Ok(all([1, 2])), Ok(all([1, 2, 3]))].into_iter().chain(errors);
    let source = source(Schedule::new(), answers.chain([Ok(all([4]))]));
    let status = source.status();
    let services = source.connect(|_| service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let balancer = Balancer::spawn(RoundRobin::new(), services);
    sleep(40 * SECOND).await;
    assert_eq!(balancer.status().endpoints.len(), 3);
    sleep(3600 * SECOND).await;
    assert_eq!(balancer.status().endpoints.len(), 3);
    assert!(status.age().unwrap() > 3500 * SECOND);
    assert_eq!(balancer.status().driver.last_error.unwrap().to_string(), "table: down");
    sleep(12 * 3600 * SECOND).await;
    assert_eq!(balancer.status().endpoints.len(), 1);
}

#[test]
fn nonsense_is_rejected_and_nothing_is_asked_before_it_is_polled() {
    let fetch = || async { Ok(Fetched::<u32, u32>::unchanged()) };
    let error = discover::refresh("table", Schedule::new().jitter(-1.0), fetch).unwrap_err();
    assert_eq!(error.to_string(), "`jitter` is -1: expected a number from 0 to 1");
    let error = discover::refresh("table", Schedule::new().floor(400 * SECOND), fetch).unwrap_err();
    assert_eq!(error.to_string(), "`floor` is 400s: expected at most the ceiling, 300s");
    let source = discover::refresh("table", Schedule::new(), fetch).unwrap();
    assert!(source.status().report().last_success.is_none());
}
