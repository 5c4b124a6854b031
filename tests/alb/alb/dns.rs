//! Answers for a name of several zones, asked by dig.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::oneshot;
use tower_lb::dns_server::{DnsServer, ZoneAffinity};

/// The output of dig, or `None` if it is not installed.
async fn dig(server: std::net::SocketAddr, query: &[&str]) -> Option<String> {
    let mut command = Command::new("dig");
    command
        .args(["@127.0.0.1", "-p", &server.port().to_string(), "+tries=1", "+time=2"])
        .args(query)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Ok(output) = output else {
        eprintln!("SKIPPED: dig is not installed");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap())
}

fn lines(output: &str) -> BTreeSet<&str> {
    output.lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_sees_the_zones_that_can_serve() {
    let healthy = Arc::new([AtomicBool::new(true), AtomicBool::new(true)]);
    let is_healthy = {
        let healthy = Arc::clone(&healthy);
        move |zone: &str| healthy[usize::from(zone == "b")].load(Relaxed)
    };
    let server = DnsServer::builder("lb.test")
        .zone("a", ["10.0.1.1".parse().unwrap(), "10.0.1.2".parse().unwrap()])
        .zone("b", ["10.0.2.1".parse().unwrap(), "fd00::2".parse().unwrap()])
        .healthy(is_healthy)
        .build()
        .unwrap()
        .bind(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { _ = stopped.await }));

    let Some(all) = dig(address, &["lb.test", "A", "+short"]).await else { return };
    assert_eq!(lines(&all), ["10.0.1.1", "10.0.1.2", "10.0.2.1"].into());
    let ask = async |query: &[&str]| dig(address, query).await.unwrap();
    assert_eq!(ask(&["LB.test", "AAAA", "+short", "+tcp"]).await, "fd00::2\n");
    assert!(ask(&["lb.test", "A"]).await.contains("\t60\tIN\tA\t"), "the time to live");

    // The health of zones is read again after 100 ms.
    let has_changed = || tokio::time::sleep(std::time::Duration::from_millis(120));
    healthy[1].store(false, Relaxed);
    has_changed().await;
    assert_eq!(lines(&ask(&["lb.test", "A", "+short"]).await), ["10.0.1.1", "10.0.1.2"].into());
    // The only address of this type is in the failed zone: the name exists, without a record.
    let none = ask(&["lb.test", "AAAA"]).await;
    assert!(none.contains("status: NOERROR") && none.contains("ANSWER: 0"), "{none}");
    assert!(none.contains("SOA"), "{none}");
    assert_eq!(ask(&["b.lb.test", "AAAA", "+short"]).await, "fd00::2\n", "a zone's own name");
    healthy[0].store(false, Relaxed);
    has_changed().await;
    assert_eq!(lines(&ask(&["lb.test", "A", "+short"]).await).len(), 3, "all have failed");

    for (query, status) in [
        (&["x.lb.test", "A"][..], "NXDOMAIN"),
        (&["a.b.lb.test", "A"], "NXDOMAIN"),
        (&["lb.test", "MX"], "NOERROR"),
        (&["example.com", "A"], "REFUSED"),
        (&["lb.test", "A", "-c", "CH"], "REFUSED"),
        (&["lb.test", "A", "+edns=1", "+noednsnegotiation"], "BADVERS"),
        (&["lb.test", "A", "+opcode=NOTIFY"], "NOTIMP"),
    ] {
        let output = ask(query).await;
        assert!(output.contains(&format!("status: {status}")), "{query:?}: {output}");
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_the_zone_that_it_is_in() {
    let server = DnsServer::builder("lb.test")
        .zone("a", ["10.0.1.1".parse().unwrap()])
        .zone("b", ["10.0.2.1".parse().unwrap()])
        .clients("127.0.0.0/8".parse().unwrap(), "b")
        .affinity(ZoneAffinity::Full)
        .build()
        .unwrap()
        .bind(([127, 0, 0, 1], 0).into())
        .await
        .unwrap();
    let address = server.address();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    if let Some(answer) = dig(address, &["lb.test", "A", "+short"]).await {
        assert_eq!(answer, "10.0.2.1\n");
    }
    serving.abort();
}
