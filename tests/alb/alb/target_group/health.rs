//! Health in the ALB's words, and what a group does without healthy targets.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_lb::alb::target_group::{
    Algorithm, GroupHealthThresholds, ReasonCode, RoutingState, TargetState,
};

use super::backend::{Backend, Group, checks, get, group, healthy, is_ok, reply, status, until};

fn state(group: &Group, id: &str) -> (TargetState, Option<ReasonCode>) {
    let health = group.health_of(id);
    (health.state, health.reason)
}

async fn until_state(group: &Group, id: &str, expected: (TargetState, Option<ReasonCode>)) {
    until(&format!("{id} is {expected:?}"), || state(group, id) == expected).await;
}

#[tokio::test]
async fn states_and_reason_codes() {
    let good = Backend::good().await;
    let failing = Backend::checked_by(|| 500, |_| async { reply(200) }).await;
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = silent.local_addr().unwrap();
    let group = group(&[&good, &failing])
        .targets([refused, silent_address])
        .health_checks(checks().timeout(Duration::from_millis(300)))
        .spawn()
        .unwrap();
    use ReasonCode::{FailedHealthChecks, InitialHealthChecking, ResponseCodeMismatch, Timeout};
    let silent_id = silent_address.to_string();
    let initial = (TargetState::Initial, Some(InitialHealthChecking));
    assert_eq!(state(&group, &silent_id), initial);
    until_state(&group, &good.id(), (TargetState::Healthy, None)).await;
    let unhealthy = |reason| (TargetState::Unhealthy, Some(reason));
    until_state(&group, &failing.id(), unhealthy(ResponseCodeMismatch)).await;
    until_state(&group, &refused.to_string(), unhealthy(FailedHealthChecks)).await;
    until_state(&group, &silent_id, unhealthy(Timeout)).await;
    let unknown = group.health_of("10.0.0.1:80");
    assert_eq!(unknown.state.as_str(), "unused");
    assert_eq!(unknown.reason.unwrap().as_str(), "Target.NotRegistered");
    let text = group.health_of(&failing.id()).to_string();
    assert!(text.contains("Target.ResponseCodeMismatch: response status 500"), "{text}");
    assert_eq!(group.health().len(), 4);
    let group_health = group.group_health();
    assert_eq!((group_health.healthy, group_health.all), (1, 4));
    for _ in 0..20 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((good.served(), failing.served()), (20, 0));
}

#[tokio::test]
async fn checks_are_those_of_the_alb() {
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let backend = Backend::answering(move |request| {
        let agent = request.headers()["user-agent"].to_str().unwrap().to_owned();
        let target = request.uri().to_string();
        sender.send((request.method().clone(), target, agent)).unwrap();
        async { reply(204) }
    });
    let backend = backend.await;
    let settings = checks().path("/other?deep=1").matcher("200,204");
    let group = group(&[&backend]).health_checks(settings).spawn().unwrap();
    healthy(&group, 1).await;
    let seen = seen.recv().await.unwrap();
    assert_eq!(seen.0, http::Method::GET);
    assert_eq!((&*seen.1, &*seen.2), ("/other?deep=1", "ELB-HealthChecker/2.0"));
}

#[tokio::test]
async fn without_a_healthy_target_all_get_requests() {
    let check = Arc::new(AtomicU16::new(500));
    let status_of = |check: &Arc<AtomicU16>| {
        let check = Arc::clone(check);
        move || check.load(Relaxed)
    };
    let a = Backend::checked_by(status_of(&check), |_| async { reply(200) }).await;
    let b = Backend::checked_by(|| 500, |_| async { reply(200) }).await;
    let group = group(&[&a, &b]).spawn().unwrap();
    until("checks have failed", || a.checked() > 1 && b.checked() > 1).await;
    assert_eq!(group.group_health().routing, RoutingState::FailOpen);
    assert!(!group.group_health().is_in_dns);
    for _ in 0..10 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((a.served(), b.served()), (5, 5));
    check.store(200, Relaxed);
    healthy(&group, 1).await;
    assert_eq!(group.group_health().routing, RoutingState::Healthy);
    for _ in 0..10 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((a.served(), b.served()), (15, 5));
}

#[tokio::test]
async fn a_percentage_opens_the_routing() {
    let good = [Backend::good().await, Backend::good().await];
    let bad = Backend::checked_by(|| 500, |_| async { reply(200) }).await;
    let thresholds = |percentage| GroupHealthThresholds::new().routing_percentage(percentage);
    for (percentage, routing) in [(66, RoutingState::Healthy), (67, RoutingState::FailOpen)] {
        let group = group(&[&good[0], &good[1], &bad])
            .algorithm(Algorithm::RoundRobin)
            .group_health(thresholds(percentage))
            .spawn()
            .unwrap();
        healthy(&group, 2).await;
        until("the bad one is checked", || state(&group, &bad.id()).0 == TargetState::Unhealthy)
            .await;
        assert_eq!(group.group_health().routing, routing, "{percentage} %");
        let before = bad.served();
        for _ in 0..9 {
            status(&group, get("/")).await;
        }
        let expected = if routing == RoutingState::FailOpen { 3 } else { 0 };
        assert_eq!(bad.served() - before, expected, "{percentage} %");
    }
}
