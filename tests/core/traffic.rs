//! Shares of requests that go elsewhere, and copies.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{
    Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn, util::BoxCloneSyncService,
};
use tower_lb::{
    Balancer, discover,
    endpoint::Endpoint,
    outcome::{Attempts, Carry},
    retry::RetrySafety,
    strategy::P2c,
    traffic::{CanaryLayer, Shadow, ShadowCounts},
};
use tower_lb_test_support::{Backend, Readiness, request::Query};

const MS: Duration = Duration::from_millis(1);

fn named(
    name: &'static str,
) -> impl Service<u64, Response = &'static str, Error = Infallible, Future: Send> + Clone {
    service_fn(move |_: u64| std::future::ready(Ok(name)))
}

/// 5 % of 20 000 requests, with a tolerance of half a percent: three standard deviations.
#[tokio::test]
async fn a_canary_gets_its_share() {
    let layer = CanaryLayer::new(named("new"), 0.05).unwrap().seed(1);
    let service = layer.layer(named("old"));
    let share = async || {
        let mut new = 0;
        for n in 0..20_000 {
            new += u32::from(service.clone().oneshot(n).await.unwrap() == "new");
        }
        f64::from(new) / 20_000.0
    };
    let measured = share().await;
    assert!((measured - 0.05).abs() < 0.005, "{measured}");
    layer.set_share(0.0).unwrap();
    assert_eq!(share().await, 0.0);
    layer.set_share(1.0).unwrap();
    assert_eq!(share().await, 1.0);
    assert!(layer.set_share(1.1).is_err() && layer.set_share(f64::NAN).is_err());
    assert_eq!(layer.share(), 1.0);
}

#[tokio::test]
async fn callers_stay_where_they_are_and_more_of_them_follow() {
    let layer = CanaryLayer::new(named("new"), 0.1).unwrap().sticky_by(|user: &u64| Some(*user));
    let service = layer.layer(named("old"));
    let at_the_canary = async || {
        let mut users = Vec::new();
        for user in 0..10_000 {
            if service.clone().oneshot(user).await.unwrap() == "new" {
                users.push(user);
            }
        }
        users
    };
    let before = at_the_canary().await;
    assert!((900..1100).contains(&before.len()), "{}", before.len());
    assert_eq!(before, at_the_canary().await);
    layer.set_share(0.3).unwrap();
    let after = at_the_canary().await;
    assert!((2800..3200).contains(&after.len()), "{}", after.len());
    assert!(before.iter().all(|user| after.contains(user)));
}

#[tokio::test]
async fn a_canary_that_is_not_ready_gets_nothing() {
    let (old, new) = (Backend::new("old"), Backend::new("new"));
    let layer = CanaryLayer::new(new.clone(), 1.0).unwrap();
    let mut service = layer.layer(old.clone());
    let mut send = async || {
        let ready = ServiceExt::<u64>::ready(&mut service).await.unwrap();
        ready.call(1_u64).await.unwrap()
    };
    assert_eq!(send().await, "new");
    new.set_readiness(Readiness::Pending);
    assert_eq!(send().await, "old");
    new.set_readiness(Readiness::Ready);
    assert_eq!(send().await, "new");
    new.set_readiness(Readiness::Fails);
    assert_eq!(send().await, "old");
}

#[tokio::test(start_paused = true)]
async fn copies_go_to_the_mirror_and_nobody_waits_for_them() {
    let seen = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&seen);
    let mirror = service_fn(move |_: Query| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(1000 * MS).await;
            Err::<(), _>(io::Error::other("nobody cares"))
        }
    });
    let service = service_fn(|_: Query| async {
        sleep(MS).await;
        Ok::<_, Infallible>(())
    });
    let (shadow, driver) = Shadow::new(service, mirror, 1.0, 2).unwrap();
    let driver = tokio::spawn(driver);
    let began = Instant::now();
    for _ in 0..10 {
        shadow.clone().oneshot(Query::idempotent()).await.unwrap();
        shadow.clone().oneshot(Query::new(RetrySafety::IfUnsent)).await.unwrap();
    }
    assert_eq!(began.elapsed(), 20 * MS);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    let counts = shadow.counts();
    // Two are in flight, and two wait.
    assert_eq!((counts.sent, counts.skipped, counts.failed), (2, 6, 0));
    let counts = || shadow.counts();
    sleep(2500 * MS).await;
    assert_eq!((counts().sent, counts().failed), (4, 4));
    assert_ne!(counts(), ShadowCounts::default());
    drop(shadow);
    driver.await.unwrap();
}

#[tokio::test]
async fn what_becomes_of_a_copy_is_no_matter_of_the_request() {
    let mirror = service_fn(|query: Query| async move {
        let attempts = query.attempts().unwrap();
        attempts.begin_next();
        attempts.went_to(Endpoint::new(()).stats());
        Ok::<_, Infallible>(())
    });
    let service = service_fn(|_: Query| async {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(())
    });
    let (shadow, driver) = Shadow::new(service, mirror, 1.0, 2).unwrap();
    tokio::spawn(driver);
    let attempts = Attempts::with_deadline(Instant::now() + MS);
    let mut query = Query::idempotent();
    query.carry(attempts.clone());
    shadow.clone().oneshot(query).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(shadow.counts().sent, 1);
    assert_eq!((attempts.number(), attempts.tried().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_share_of_requests_is_copied() {
    let mirror = service_fn(|_: Query| async { Ok::<_, Infallible>(()) });
    let service = service_fn(|_: Query| async { Ok::<_, Infallible>(()) });
    let (shadow, driver) = Shadow::new(service, mirror, 0.2, 100).unwrap();
    tokio::spawn(driver);
    for _ in 0..5000 {
        shadow.clone().oneshot(Query::idempotent()).await.unwrap();
        tokio::task::yield_now().await;
    }
    let sent = shadow.counts().sent;
    // Four standard deviations.
    assert!((887..1113).contains(&sent), "{sent}");
}

/// Copies hold the bodies of requests that may be over.
#[tokio::test(start_paused = true)]
async fn copies_wait_a_second_for_the_mirror_to_be_ready() {
    let (handle, stream) = discover::channel::<&str, BoxCloneSyncService<_, _, Infallible>>();
    let mirror = Balancer::spawn(P2c::default(), stream);
    let service = service_fn(|_: Query| async { Ok::<_, Infallible>(()) });
    let (shadow, driver) = Shadow::new(service, mirror, 1.0, 4).unwrap();
    tokio::spawn(driver);
    let send = || shadow.clone().oneshot(Query::idempotent());
    let skipped = || (shadow.counts().sent, shadow.counts().skipped);
    for _ in 0..3 {
        send().await.unwrap();
    }
    sleep(999 * MS).await;
    assert_eq!(skipped(), (0, 0));
    send().await.unwrap();
    sleep(2 * MS).await;
    assert_eq!(skipped(), (0, 3), "each by its own age");
    let mirror = service_fn(|_: Query| async { Ok::<_, Infallible>(()) });
    handle.insert("a", Endpoint::new(BoxCloneSyncService::new(mirror))).unwrap();
    sleep(MS).await;
    assert_eq!(skipped(), (1, 3));
}

/// No room at the canary is held while the stable service is waited for.
#[tokio::test(start_paused = true)]
async fn the_canary_is_asked_when_the_stable_service_is_ready() {
    let room = Arc::new(tokio::sync::Semaphore::new(1));
    let canary = ConcurrencyLimit::with_semaphore(named("new"), Arc::clone(&room));
    let (_handle, stream) = discover::channel::<&str, BoxCloneSyncService<u64, &str, Infallible>>();
    let stable = Balancer::spawn(P2c::default(), stream);
    let mut service = CanaryLayer::new(canary, 1.0).unwrap().layer(stable);
    let mut ready = tokio_test::task::spawn(ServiceExt::<u64>::ready(&mut service));
    assert!(ready.poll().is_pending());
    assert_eq!(room.available_permits(), 1);
}

#[test]
fn nonsense_is_rejected() {
    assert!(CanaryLayer::new((), -0.1).is_err());
    let mirror = || service_fn(|_: Query| async { Ok::<_, Infallible>(()) });
    assert!(Shadow::new((), mirror(), 2.0, 1).is_err());
    assert!(Shadow::new((), mirror(), 0.5, 0).is_err());
}
