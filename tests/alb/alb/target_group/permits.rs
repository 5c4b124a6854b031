//! Targets that permit requests themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use http::Response;
use tokio::time::sleep;
use tower_lb::http::PERMITS;

use super::backend::{Backend, Body, get, group, healthy, is_ok, status, until};

/// A server that permits `permits` requests at a time, and remembers the most that it had.
async fn permitting(permits: u32) -> (Backend, Arc<AtomicU32>) {
    let (in_flight, most) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
    let seen = Arc::clone(&most);
    let backend = Backend::answering(move |_| {
        let (in_flight, most) = (Arc::clone(&in_flight), Arc::clone(&most));
        async move {
            most.fetch_max(in_flight.fetch_add(1, SeqCst) + 1, SeqCst);
            sleep(Duration::from_millis(20)).await;
            in_flight.fetch_sub(1, SeqCst);
            Response::builder().header(PERMITS, permits).body(Body::default()).unwrap()
        }
    });
    (backend.await, seen)
}

#[tokio::test]
async fn a_target_never_has_more_requests_than_it_permits() {
    let (backend, most) = permitting(3).await;
    let group =
        group(&[&backend]).target_permits(1).max_wait(Duration::from_secs(10)).spawn().unwrap();
    healthy(&group, 1).await;
    let statuses = join_all((0..40).map(|_| status(&group, get("/")))).await;
    assert!(statuses.into_iter().all(is_ok));
    assert_eq!(most.load(SeqCst), 3);
    assert_eq!(backend.served(), 40);
}

#[tokio::test]
async fn no_permit_is_no_request() {
    let (backend, most) = permitting(0).await;
    let group = group(&[&backend]).target_permits(2).spawn().unwrap();
    healthy(&group, 1).await;
    assert_eq!(status(&group, get("/")).await, 200);
    assert_eq!(status(&group, get("/")).await, 503, "the response has taken the permits away");
    assert!(!group.grant("10.0.0.1:80", 1));
    assert!(group.grant(&backend.id(), 1));
    assert_eq!(status(&group, get("/")).await, 200);
    assert_eq!(status(&group, get("/")).await, 503);
    assert_eq!(most.load(SeqCst), 1);
}

#[tokio::test]
async fn a_waiting_request_gets_a_permit_that_comes_later() {
    let (backend, _) = permitting(1).await;
    let group =
        group(&[&backend]).target_permits(0).max_wait(Duration::from_secs(10)).spawn().unwrap();
    healthy(&group, 1).await;
    let sender = group.clone();
    let request = tokio::spawn(async move { status(&sender, get("/")).await });
    sleep(Duration::from_millis(100)).await;
    assert_eq!(backend.served(), 0);
    group.grant(&backend.id(), 1);
    assert_eq!(request.await.unwrap(), 200);
    until("it is over", || group.status().endpoints[0].outstanding == 0).await;
}

#[tokio::test]
async fn requests_go_where_permits_are() {
    let ((busy, _), (free, _)) = (permitting(0).await, permitting(8).await);
    let group = group(&[&busy, &free]).target_permits(8).spawn().unwrap();
    healthy(&group, 2).await;
    for _ in 0..20 {
        assert_eq!(status(&group, get("/")).await, 200);
    }
    assert_eq!((busy.served(), free.served()), (1, 19));
}
