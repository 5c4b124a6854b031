//! Targets that come and go while requests are in flight.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::{sync::Notify, time::sleep};
use tower::{Layer, ServiceExt};
use tower_lb::{
    alb::{
        ElbError, TargetGroup,
        target_group::{HealthChecks, ReasonCode, Target, TargetState},
    },
    discover,
    http::{Origin, ResilienceLayer},
};

use super::backend::{Backend, get, group, healthy, is_ok, reply, status, until};

#[tokio::test]
async fn a_deregistered_target_finishes_its_request() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&arrived), Arc::clone(&go));
    let slow = Backend::answering(move |_| {
        let (arrived, go) = signals.clone();
        async move {
            arrived.notify_one();
            go.notified().await;
            reply(200)
        }
    });
    let slow = slow.await;
    let group = group(&[&slow]).spawn().unwrap();
    healthy(&group, 1).await;
    let sender = group.clone();
    let request = tokio::spawn(async move { status(&sender, get("/")).await });
    arrived.notified().await;
    assert!(group.targets().deregister(&slow.id()));
    assert!(!group.targets().deregister(&slow.id()));
    let draining = (TargetState::Draining, Some(ReasonCode::DeregistrationInProgress));
    until("it is draining", || {
        let health = group.health_of(&slow.id());
        (health.state, health.reason) == draining
    })
    .await;
    assert_eq!(status(&group, get("/")).await, 503, "a draining target gets no new request");
    go.notify_one();
    assert_eq!(request.await.unwrap(), 200);
    until("it is gone", || group.health().is_empty()).await;
    assert_eq!(slow.served(), 1);
}

#[tokio::test]
async fn a_target_without_requests_is_gone_at_once() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let group = group(&[&a, &b]).spawn().unwrap();
    healthy(&group, 2).await;
    group.targets().replace([Target::new(b.address).weight(2)]);
    until("one target is left", || group.health().len() == 1).await;
    for _ in 0..5 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((a.served(), b.served()), (0, 5));
}

#[tokio::test]
async fn targets_of_any_discovery_stream_join_those_that_are_registered() {
    let (a, b) = (Backend::good().await, Backend::good().await);
    let (handle, source) = discover::channel::<&str, Origin>();
    let group = group(&[&a]).discover(source).spawn().unwrap();
    healthy(&group, 1).await;
    // The group decides about the scheme.
    handle.insert("found", format!("https://{}", b.address).parse::<Origin>().unwrap()).unwrap();
    healthy(&group, 2).await;
    assert_eq!(group.health_of("found").state, TargetState::Healthy);
    for _ in 0..4 {
        assert!(is_ok(status(&group, get("/")).await));
    }
    assert_eq!((a.served(), b.served()), (2, 2));
}

/// A process that serves files; `None`, and a line, without Python.
fn python(port: u16) -> Option<Child> {
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--directory", "/usr/share"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| println!("skipped: no python3: {error}")).ok()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `kill -9` of a target under load: requests that may be repeated do not fail, and the target
/// returns once it is started again.
#[tokio::test]
async fn a_killed_target_costs_no_idempotent_request() {
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = [port(), port(), port()];
    let mut processes = Vec::new();
    for port in ports {
        let Some(process) = python(port) else { return };
        processes.push(Killed(process));
    }
    let checks = HealthChecks::new().path("/").interval(Duration::from_millis(100));
    let checks = checks.timeout(Duration::from_secs(2)).healthy_threshold(2);
    let group = TargetGroup::builder("killed")
        .targets(ports.map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port))))
        .health_checks(checks)
        .unrestricted()
        .spawn()
        .unwrap();
    until("all are healthy", || group.group_health().healthy == 3).await;
    let service = ResilienceLayer::builder().build().unwrap().layer(group.clone());
    let request = || Request::get("/").body(Full::<Bytes>::default()).unwrap();
    let mut failed = Vec::new();
    for restarted in ports.into_iter().take(2) {
        for step in 0..60 {
            if step == 10 {
                drop(processes.remove(0));
            }
            match service.clone().oneshot(request()).await {
                Ok(response) if response.status().is_success() => {
                    response.into_body().collect().await.unwrap();
                }
                Ok(response) => failed.push(response.status().as_u16()),
                Err(error) => failed.push(ElbError::of(&*error).status().as_u16()),
            }
            sleep(Duration::from_millis(10)).await;
        }
        until("the killed one is found", || group.group_health().healthy == 2).await;
        processes.push(Killed(python(restarted).unwrap()));
        until("it is back", || group.group_health().healthy == 3).await;
    }
    assert_eq!(failed, [0_u16; 0]);
}
