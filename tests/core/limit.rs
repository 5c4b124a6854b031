//! Which requests get a permit, wait or are rejected.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, advance, sleep},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    limit::{
        AdaptiveThrottleLayer, Concurrency, ConcurrencyLimitLayer, Inspect, InspectDeadline,
        Priority, QueueOrder, RateLimitLayer, RejectReason, Rejected,
    },
    outcome::{Attempts, Carry, Classify, Outcome},
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

/// Takes 100 ms.
fn slow<Req: Send + 'static>() -> BoxCloneSyncService<Req, (), Infallible> {
    BoxCloneSyncService::new(service_fn(|_: Req| async {
        sleep(100 * MS).await;
        Ok(())
    }))
}

fn why(error: &BoxError) -> RejectReason {
    error.downcast_ref::<Rejected>().unwrap().reason()
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_get_in_and_the_others_in_order() {
    let inside = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let (counter, peak) = (Arc::clone(&inside), Arc::clone(&most));
    let service = service_fn(move |n: u32| {
        let (counter, peak) = (Arc::clone(&counter), Arc::clone(&peak));
        async move {
            peak.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(MS).await;
            counter.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>((n, Instant::now()))
        }
    });
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(3)).queue(100).build().unwrap();
    let service = layer.layer(service);
    let requests = (0..50).map(|n| service.clone().oneshot(n));
    let answers = futures::future::try_join_all(requests).await.unwrap();
    assert!(answers.is_sorted_by_key(|(_, at)| *at));
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_at_any_time_gives_the_place_to_the_next() {
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).queue(2).build().unwrap();
    let service = layer.layer(slow());
    let mut first = spawn(service.clone().oneshot(()));
    let mut second = spawn(service.clone().oneshot(()));
    let mut third = spawn(service.clone().oneshot(()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    assert_eq!((layer.in_flight(), layer.waiting()), (1, 2));
    assert_eq!(
        why(&service.clone().oneshot(()).await.unwrap_err()),
        RejectReason::QueueFull { limit: 1 }
    );
    // It is given the place, and dropped before it takes it.
    drop(first);
    assert!(second.is_woken());
    drop(second);
    assert!(third.is_woken());
    assert_pending!(third.poll());
    advance(101 * MS).await;
    assert_ready!(third.poll()).unwrap();
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn under_overload_the_newest_come_first_and_the_oldest_are_turned_away() {
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(1))
        .queue(4)
        .order(QueueOrder::AdaptiveLifo);
    let service = layer.build().unwrap().layer(slow());
    let mut done = JoinSet::new();
    for n in 0..7 {
        let service = service.clone();
        done.spawn(async move { (n, service.oneshot(()).await) });
        tokio::task::yield_now().await;
    }
    let mut order = Vec::new();
    while let Some(finished) = done.join_next().await {
        let (n, result) = finished.unwrap();
        if let Err(error) = &result {
            assert_eq!(why(error), RejectReason::Outdated);
        }
        order.push((n, result.is_ok()));
    }
    // 0 is served; 1 and 2 are pushed out; the newest until the queue is half empty.
    let (turned_away, served): (Vec<_>, Vec<_>) = order.into_iter().partition(|(_, ok)| !ok);
    assert_eq!(turned_away.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(served.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 6, 5, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_beyond_the_limit_or_the_deadline() {
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).queue(10).max_wait(50 * MS);
    let service = layer.inspect(InspectDeadline).build().unwrap().layer(slow());
    let mut first = spawn(service.clone().oneshot(Query::idempotent()));
    assert_pending!(first.poll());
    let began = Instant::now();
    let mut urgent = Query::idempotent();
    urgent.carry(Attempts::with_deadline(began + 20 * MS));
    let error = service.clone().oneshot(urgent).await.unwrap_err();
    assert_eq!(why(&error), RejectReason::WaitedTooLong { waited: 20 * MS });
    let error = service.clone().oneshot(Query::idempotent()).await.unwrap_err();
    assert_eq!(why(&error), RejectReason::WaitedTooLong { waited: 50 * MS });
}

struct ByNumber;

impl Inspect<u8> for ByNumber {
    fn priority(&self, percent: &u8) -> Priority {
        Priority::up_to(*percent)
    }
}

#[tokio::test(start_paused = true)]
async fn the_less_important_are_turned_away_first() {
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(10)).queue(1).inspect(ByNumber);
    let service = layer.build().unwrap().layer(slow());
    let mut in_flight: Vec<_> = (0..5).map(|_| spawn(service.clone().oneshot(50))).collect();
    in_flight.iter_mut().for_each(|request| assert_pending!(request.poll()));
    let error = service.clone().oneshot(50).await.unwrap_err();
    assert_eq!(why(&error), RejectReason::Priority { limit: 5 });
    let mut more: Vec<_> = (0..6).map(|_| spawn(service.clone().oneshot(100))).collect();
    more.iter_mut().for_each(|request| assert_pending!(request.poll()));
    assert!(matches!(
        why(&service.oneshot(100).await.unwrap_err()),
        RejectReason::QueueFull { .. }
    ));
}

/// True is an answer, false means that there is too much to do.
#[derive(Clone, Copy)]
struct Accepted;

impl Classify<bool> for Accepted {
    fn classify(&self, result: Result<&bool, &(dyn std::error::Error + 'static)>) -> Outcome {
        match result {
            Ok(false) => Outcome::Overload { retry_after: None },
            _ => Outcome::Success,
        }
    }
}

/// A server with eight workers: further requests wait there, and above 32 are rejected.
async fn adaptive(concurrency: Concurrency) -> (u32, u32, u32) {
    let workers = Arc::new(tokio::sync::Semaphore::new(8));
    let refused = Arc::new(AtomicU32::new(0));
    let (shared, counter) = (Arc::clone(&workers), Arc::clone(&refused));
    let inside = Arc::new(AtomicU32::new(0));
    let server = service_fn(move |()| {
        let (workers, refused) = (Arc::clone(&shared), Arc::clone(&counter));
        let inside = Arc::clone(&inside);
        async move {
            if inside.fetch_add(1, Ordering::SeqCst) >= 32 {
                inside.fetch_sub(1, Ordering::SeqCst);
                refused.fetch_add(1, Ordering::SeqCst);
                return Ok::<_, Infallible>(false);
            }
            let _worker = workers.acquire().await.unwrap();
            sleep(10 * MS).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(true)
        }
    });
    let layer = ConcurrencyLimitLayer::builder(concurrency).classify(Accepted).build().unwrap();
    let service = layer.layer(server);
    let served = Arc::new(AtomicU32::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let (service, served) = (service.clone(), Arc::clone(&served));
        clients.spawn(async move {
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end {
                match service.clone().oneshot(()).await {
                    Ok(true) => _ = served.fetch_add(1, Ordering::SeqCst),
                    Ok(false) | Err(_) => sleep(5 * MS).await,
                }
            }
        });
    }
    clients.join_all().await;
    (layer.limit(), served.load(Ordering::SeqCst), refused.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn adaptive_limits_use_the_capacity_and_spare_the_server() {
    let capacity = 16_000;
    for concurrency in [Concurrency::aimd(1, 1000), Concurrency::gradient(1, 1000)] {
        let (limit, served, refused) = adaptive(concurrency).await;
        println!(
            "{concurrency:?}: limit {limit}, {served} of {capacity} served, {refused} refused"
        );
        assert!(served > capacity * 95 / 100, "{served} served");
        assert!(refused < served / 20, "{refused} refused");
        assert!((8..=40).contains(&limit), "{limit}");
    }
}

/// Of 100 requests a second the server accepts 20: about 2 * 20 get through to it (within 20 %),
/// and all of them a few minutes after it has recovered.
#[tokio::test(start_paused = true)]
async fn throttling_sends_twice_what_is_accepted() {
    let accepting = Arc::new(AtomicU32::new(20));
    let (seen, share) = (Arc::new(AtomicU32::new(0)), Arc::clone(&accepting));
    let counter = Arc::clone(&seen);
    let nth = Arc::new(AtomicU32::new(0));
    let server = service_fn(move |()| {
        counter.fetch_add(1, Ordering::SeqCst);
        let nth = nth.fetch_add(1, Ordering::SeqCst) % 100;
        std::future::ready(Ok::<_, Infallible>(nth < share.load(Ordering::SeqCst)))
    });
    let layer = AdaptiveThrottleLayer::new(Accepted, 2.0).unwrap().seed(1);
    // A clone for each request, as frameworks do.
    let service = layer.layer(server);
    let run = async |seconds: u32| {
        seen.store(0, Ordering::SeqCst);
        for _ in 0..seconds * 100 {
            match service.clone().oneshot(()).await {
                Ok(_) => {}
                Err(error) => assert!(matches!(why(&error), RejectReason::Throttled { .. })),
            }
            advance(10 * MS).await;
        }
        f64::from(seen.load(Ordering::SeqCst)) / f64::from(seconds)
    };
    accepting.store(100, Ordering::SeqCst);
    assert_eq!(run(60).await, 100.0);
    // What is accepted is a share of what is sent: the share that is sent falls until nearly all
    // that is left is the one in K that keeps trying.
    accepting.store(20, Ordering::SeqCst);
    run(600).await;
    assert!(run(60).await < 50.0);
    assert!(layer.rejected_share() > 0.5);
    accepting.store(100, Ordering::SeqCst);
    run(1200).await;
    assert_eq!(run(60).await, 100.0);
}

#[tokio::test(start_paused = true)]
async fn throttling_lets_a_burst_through_that_is_answered_later() {
    let layer = AdaptiveThrottleLayer::new(tower_lb::outcome::ResultOnly, 2.0).unwrap().seed(1);
    for round in 0..2 {
        let requests = (0..100).map(|_| layer.layer(slow::<()>()).oneshot(()));
        let answers = futures::future::join_all(requests).await;
        assert!(answers.iter().all(Result::is_ok), "round {round}");
        // What was counted is forgotten.
        advance(Duration::from_secs(300)).await;
    }
    // Requests that the caller cancelled do not count.
    for _ in 0..100 {
        drop(spawn(layer.layer(slow::<()>()).oneshot(())).poll());
    }
    assert_eq!(layer.rejected_share(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn rates_are_kept_with_bursts_and_waiting() {
    let ok = || service_fn(|()| async { Ok::<_, Infallible>(Instant::now()) });
    let service = RateLimitLayer::new(100.0, 5).unwrap().layer(ok());
    let send = async || service.clone().oneshot(()).await;
    for _ in 0..5 {
        send().await.unwrap();
    }
    let error = send().await.unwrap_err();
    assert_eq!(why(&error), RejectReason::Rate { retry_after: 10 * MS });
    advance(10 * MS).await;
    send().await.unwrap();
    send().await.unwrap_err();

    let service = RateLimitLayer::new(100.0, 1).unwrap().max_wait(30 * MS).layer(ok());
    let began = Instant::now();
    let requests = [(); 6].map(|()| service.clone().oneshot(()));
    let answers = futures::future::join_all(requests).await;
    let after: Vec<_> = answers.iter().flatten().map(|at| (*at - began).as_millis()).collect();
    assert_eq!(after, [0, 10, 20, 30]);
    assert_eq!(why(answers[5].as_ref().unwrap_err()), RejectReason::Rate { retry_after: 40 * MS });
}

/// As many threads as there are, and a limit of three: never more than that inside, and none is
/// forgotten outside.
#[test]
fn many_threads_share_a_limit() {
    let inside = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&inside);
    let service = service_fn(move |()| {
        let counter = Arc::clone(&counter);
        async move {
            assert!(counter.fetch_add(1, Ordering::SeqCst) < 3);
            tokio::task::yield_now().await;
            counter.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(())
        }
    });
    let layer = ConcurrencyLimitLayer::builder(Concurrency::fixed(3)).queue(1000).build().unwrap();
    let service = layer.layer(service);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let service = service.clone();
            tasks.spawn(async move {
                for _ in 0..500 {
                    service.clone().oneshot(()).await.unwrap();
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
    });
    assert_eq!((layer.in_flight(), layer.waiting()), (0, 0));
}

#[test]
fn contradictions_are_rejected() {
    let limit = |requests| ConcurrencyLimitLayer::builder(Concurrency::fixed(requests));
    assert!(limit(0).build().is_err());
    assert!(limit(1).max_wait(MS).build().is_err());
    assert!(AdaptiveThrottleLayer::new((), 1.0).is_err());
    assert!(AdaptiveThrottleLayer::new((), f64::NAN).is_err());
    assert!(RateLimitLayer::new(0.0, 1).is_err());
    assert!(RateLimitLayer::new(f64::NAN, 1).is_err());
    assert!(RateLimitLayer::new(1.0, 0).is_err());
}
