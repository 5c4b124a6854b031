use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::time::sleep;
use tower_lb::clb::{ClassicHealthCheck, ClassicProtocol, InstanceState};

use crate::{
    balancer::{Clb, before, listener, quick, status, until},
    instance::{Instance, instances, served_by},
};

fn state(clb: &Clb) -> InstanceState {
    clb.handle.status().instances[0].state
}

async fn checked(a: &Instance, check: ClassicHealthCheck) -> Clb {
    let builder = before(&[a]).listener(listener(ClassicProtocol::Http, a.port()));
    Clb::serve(builder.health_check(check))
}

/// An instance is out of service until it has passed as many checks as the threshold asks for.
#[tokio::test(flavor = "multi_thread")]
async fn thresholds_count_consecutive_checks() {
    let [a] = instances(["a"]).await;
    let check =
        quick(&format!("HTTP:{}/health", a.port())).healthy_threshold(4).unhealthy_threshold(3);
    let clb = checked(&a, check).await;
    let checks = || a.state.checks.lock().unwrap().len();
    until("there was a check", || checks() == 1).await;
    assert_ne!(state(&clb), InstanceState::InService);
    assert_eq!(status(&clb.get("/").await), 503);
    until("it is in service", || state(&clb) == InstanceState::InService).await;
    assert!(checks() >= 4, "{}", checks());
    clb.until_in_service(1).await;
    assert_eq!(served_by(&clb.get("/").await), "a");

    // Only 200 passes.
    for code in [204, 302, 500] {
        a.state.health.store(code, SeqCst);
        until("it is out of service", || state(&clb) == InstanceState::OutOfService).await;
        let instance = &clb.handle.status().instances[0];
        let description = instance.description.as_deref().unwrap();
        assert!(description.contains(&code.to_string()), "{description}");
        a.state.health.store(200, SeqCst);
        until("it is in service", || state(&clb) == InstanceState::InService).await;
    }
    // Failures that are not consecutive are too few.
    let before = checks();
    for _ in 0..3 {
        a.state.health.store(500, SeqCst);
        let failing = checks();
        until("a check has failed", || checks() > failing).await;
        a.state.health.store(200, SeqCst);
        let passing = checks();
        until("a check has passed", || checks() > passing + 1).await;
        assert_eq!(state(&clb), InstanceState::InService);
    }
    assert!(checks() > before + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_closed_or_silent_does_not_pass() {
    let [a] = instances(["a"]).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    for (target, passes) in [
        (format!("TCP:{}", a.port()), true),
        (format!("HTTP:{}/health", a.port()), true),
        // The kernel accepts the connection, and nothing answers.
        (format!("TCP:{silent_port}"), true),
        (format!("HTTP:{silent_port}/"), false),
        (format!("SSL:{silent_port}"), false),
        // No TLS there.
        (format!("SSL:{}", a.port()), false),
        (format!("HTTPS:{}/health", a.port()), false),
        ("TCP:1".to_owned(), false),
    ] {
        let tls = crate::encrypted::unverified();
        let builder = before(&[&a]).listener(listener(ClassicProtocol::Http, a.port()));
        let clb = Clb::serve(builder.health_check(quick(&target)).instance_tls(tls));
        let expected = if passes { InstanceState::InService } else { InstanceState::OutOfService };
        until(&target, || {
            clb.handle.status().instances.first().is_some_and(|one| one.state == expected)
        })
        .await;
        if !passes {
            sleep(Duration::from_millis(300)).await;
            assert_eq!(state(&clb), expected, "{target}");
        }
    }
}

/// Without a check of its own, a load balancer connects to the port of its first listener.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_is_a_connection() {
    let [a] = instances(["a"]).await;
    let builder = tower_lb::clb::ClassicLoadBalancer::builder("test")
        .instances(tower_lb::discover::addresses([a.ip()]))
        .listener(listener(ClassicProtocol::Http, a.port()));
    let clb = Clb::serve(builder);
    // AWS's threshold is ten checks, 30 s apart.
    until("a check has passed", || {
        let status = clb.handle.status();
        status.instances.first().is_some_and(|one| one.state == InstanceState::OutOfService)
    })
    .await;
    let instance = &clb.handle.status().instances[0];
    let expected = "too few consecutive health checks have passed";
    assert_eq!(instance.description.as_deref(), Some(expected));
}
