//! How the algorithms share requests out.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};
use tower_lb::{
    alb::target_group::{Algorithm, Target},
    strategy::{Dynamic, Maglev},
};

use super::backend::{Backend, get, group, healthy, is_ok, reply, send, status, until};

#[tokio::test]
async fn round_robin_takes_turns_by_weight() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let group = group(&[&a]).target(Target::new(b.address).weight(3)).seed(1).spawn().unwrap();
    healthy(&group, 2).await;
    for _ in 0..200 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((a.served(), b.served()), (50, 150));
}

#[tokio::test]
async fn weighted_random_is_random_by_weight() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let group = group(&[&a])
        .target(Target::new(b.address).weight(3))
        .algorithm(Algorithm::WeightedRandom)
        .seed(1)
        .spawn()
        .unwrap();
    healthy(&group, 2).await;
    for _ in 0..400 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    // Five standard deviations.
    assert!((57..=143).contains(&a.served()), "{}", a.served());
    assert_eq!(a.served() + b.served(), 400);
}

#[tokio::test]
async fn least_outstanding_avoids_a_target_that_does_not_answer() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let stuck = Backend::answering(move |_| {
        let gate = Arc::clone(&waiting);
        async move {
            let _ = gate.acquire().await;
            reply(200)
        }
    });
    let (stuck, quick) = (stuck.await, Backend::good().await);
    let group =
        group(&[&stuck, &quick]).algorithm(Algorithm::LeastOutstandingRequests).spawn().unwrap();
    healthy(&group, 2).await;
    let mut pending = Vec::new();
    // Until the stuck target has one.
    while stuck.served() == 0 {
        let group = group.clone();
        pending.push(tokio::spawn(async move { status(&group, get("/")).await }));
        sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..50 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!(stuck.served(), 1);
    gate.close();
    for request in pending {
        assert!(is_ok(request.await.unwrap()));
    }
}

#[tokio::test]
async fn any_strategy_of_the_crate_is_an_algorithm() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let by_path = Maglev::new(|request: &http::Request<_>| {
        Some(tower_lb::strategy::stable_hash(request.uri().path().as_bytes()))
    });
    let algorithm = Algorithm::Other(Dynamic::new(by_path));
    let group = group(&[&a, &b]).algorithm(algorithm).spawn().unwrap();
    healthy(&group, 2).await;
    for _ in 0..20 {
        send(&group, get("/the/same")).await.unwrap();
    }
    assert!([a.served(), b.served()].contains(&20));
    until("all are over", || group.status().endpoints.iter().all(|one| one.outstanding == 0)).await;
}

#[tokio::test]
async fn a_new_target_starts_slowly() {
    let (old, new) = (Backend::good().await, Backend::good().await);
    let duration = Duration::from_secs(3);
    let group = group(&[&old]).slow_start(duration).spawn().unwrap();
    healthy(&group, 1).await;
    // An established target has served for the whole time.
    sleep(duration).await;
    group.targets().register(new.address);
    healthy(&group, 2).await;
    let weight = |id: &str| {
        let status = group.status();
        let target = status.endpoints.iter().find(|target| *target.name == *id).unwrap();
        target.attributes.weight()
    };
    for _ in 0..100 {
        status(&group, get("/")).await;
    }
    assert!((1..=35).contains(&new.served()), "{}", new.served());
    until("the ramp is over", || weight(&new.id()) == weight(&old.id())).await;
    let before = new.served();
    for _ in 0..100 {
        status(&group, get("/")).await;
    }
    assert_eq!(new.served() - before, 50);
}
