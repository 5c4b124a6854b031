use std::{collections::BTreeMap, process::Command};

use tower_lb::clb::{ClassicProtocol, InstanceState};

use crate::{
    balancer::{Clb, before, listener, quick, status, until},
    instance::{instances, served_by},
    tools::{is_installed, output},
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_instance_with_the_fewest() {
    let [a, b] = instances(["a", "b"]).await;
    let clb = before(&[&a, &b]).listener(listener(ClassicProtocol::Http, a.port()));
    let clb = Clb::ready(clb, 2).await;
    let first = clb.get("/hold");
    let second = async {
        until("one has it", || a.requests() + b.requests() == 1).await;
        clb.get("/hold").await
    };
    let others = async {
        until("each has one", || a.requests() == 1 && b.requests() == 1).await;
        a.state.held.add_permits(1);
        until("one has ended", || {
            let listener = &clb.handle.status().listeners[0];
            listener.instances.iter().any(|one| one.outstanding == 0)
        })
        .await;
        for _ in 0..10 {
            assert_eq!(served_by(&clb.get("/").await), "a");
        }
        b.state.held.add_permits(1);
    };
    let (first, second, ()) = tokio::join!(first, second, others);
    let mut names = [served_by(&first), served_by(&second)];
    names.sort_unstable();
    assert_eq!(names, ["a", "b"]);

    let listener = &clb.handle.status().listeners[0];
    let ended: BTreeMap<_, _> =
        listener.instances.iter().map(|one| (&*one.name, one.outcomes.success)).collect();
    assert_eq!(ended, BTreeMap::from([("127.0.0.1", 11), ("127.0.0.2", 1)]));
    assert_eq!((listener.connections.requests, listener.spillover), (12, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_learn_about_the_client() {
    if !is_installed("curl", "--version") {
        return;
    }
    let [a] = instances(["a"]).await;
    let settings = || before(&[&a]).listener(listener(ClassicProtocol::Http, a.port()));
    let forged = "X-Forwarded-For: 192.0.2.1";
    for (settings, is_trusted, addresses) in [
        (settings(), false, "x-forwarded-for: 127.0.0.1\r\n"),
        (
            settings().trusted_networks(["127.0.0.0/8".parse().unwrap()]),
            true,
            "x-forwarded-for: 192.0.2.1, 127.0.0.1\r\n",
        ),
    ] {
        let clb = Clb::ready(settings, 1).await;
        let address = clb.addresses[0];
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-H", forged, "-H", "X-Forwarded-Prefix: /forged"]);
        curl.arg(format!("http://{address}/a?b=c"));
        let seen = output(curl).await;
        let lower = seen.to_lowercase();
        assert!(seen.contains("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
        for expected in [
            addresses,
            "x-forwarded-proto: http\r\n",
            &format!("x-forwarded-port: {}\r\n", address.port()),
            &format!("host: {address}\r\n"),
        ] {
            assert!(lower.contains(expected), "{expected:?} in {seen}");
        }
        assert_eq!(lower.contains("x-forwarded-prefix"), is_trusted, "{seen}");
        assert!(!lower.contains("\r\nvia:"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_listeners_share_the_instances() {
    let [a, b] = instances(["a", "b"]).await;
    let [c] = instances(["c"]).await;
    // The second port of one instance only: the other one cannot be connected there.
    let clb = before(&[&a, &b])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .listener(listener(ClassicProtocol::Http, c.port()))
        .health_check(quick(&format!("HTTP:{}/health", a.port())));
    let clb = Clb::ready(clb, 2).await;
    let mut names = Vec::new();
    // Of idle instances, any may get a request.
    for _ in 0..40 {
        names.push(served_by(&clb.get("/").await).to_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["a", "b"]);
    for _ in 0..4 {
        // A connection that is refused is tried at the next instance.
        assert_eq!(served_by(&clb.get_from(1, "/", "").await), "c");
    }
    let status = clb.handle.status();
    assert_eq!(status.instances.len(), 2, "checked once for both listeners");
    let successes = |listener: &tower_lb::clb::ListenerCounts| {
        listener.instances.iter().map(|one| one.outcomes.success).sum::<u64>()
    };
    let counts: Vec<_> = status.listeners.iter().map(successes).collect();
    assert_eq!(counts, [40, 4], "each listener counts its own requests");
    let checks = a.state.checks.lock().unwrap().clone();
    assert!(checks.iter().all(|head| head.contains("ELB-HealthChecker/1.0")), "{checks:?}");
    a.state.health.store(503, std::sync::atomic::Ordering::SeqCst);
    until("it is out of service for both", || {
        let status = clb.handle.status();
        let out = status.instances.iter().filter(|one| one.state == InstanceState::OutOfService);
        let unhealthy = |listener: &tower_lb::clb::ListenerCounts| {
            let all = listener.instances.iter();
            all.filter(|one| one.health != tower_lb::endpoint::Health::Healthy).count() == 1
        };
        out.count() == 1 && status.listeners.iter().all(unhealthy)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_statuses_of_a_gateway() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .idle_timeout(std::time::Duration::from_millis(300));
    let clb = Clb::ready(clb, 1).await;
    assert_eq!(status(&clb.get("/close").await), 502, "it closes before the response");
    assert_eq!(a.requests(), 1, "it may have done something, so there is no second attempt");
    assert_eq!(status(&clb.get("/hold").await), 504, "it does not answer in time");
    drop(a);
    until("it is out of service", || {
        clb.handle.status().instances[0].state == InstanceState::OutOfService
    })
    .await;
    assert_eq!(status(&clb.get("/").await), 503, "no instance is in service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_observes_all_parts() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, a.port()))
        .listener(listener(ClassicProtocol::Tcp, a.port()));
    let clb = Clb::ready(clb, 1).await;
    clb.get("/").await;
    let registry = tower_lb::observe::Registry::new();
    registry.add(&clb.handle);
    let report = registry.report();
    let parts = [report.balancers.len(), report.listeners.len(), report.checks.len()];
    assert_eq!(parts, [2, 2, 1]);
    let name = report.balancers[0].status.name.as_deref().unwrap();
    assert!(name.starts_with("test HTTP 127.0.0.1:"), "{name}");
}

/// An upgrade needs a listener of TCP, as at AWS.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_served_plainly() {
    let [a] = instances(["a"]).await;
    let clb = before(&[&a]).listener(listener(ClassicProtocol::Http, a.port()));
    let clb = Clb::ready(clb, 1).await;
    let lines = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let seen = clb.get_from(0, "/", lines).await;
    assert_eq!(status(&seen), 200);
    assert!(!seen.to_lowercase().contains("upgrade: websocket"), "{seen}");
}
