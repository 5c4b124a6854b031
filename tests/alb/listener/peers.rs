//! Clients and load balancers that others have written: curl, h2load, HAProxy.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::sleep};
use tower_lb::listener::{Listener, ProxyProtocol};

use crate::{
    served::{self, loopback, serve},
    wire::{curl, is_installed, output},
};

#[tokio::test]
async fn curl_in_all_versions() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = serve(served::default());
    let url = served.url("/length");
    for (version, expected) in [
        ("--http1.0", "1"),
        ("--http1.1", "1.1"),
        ("--http2", "1.1"),
        ("--http2-prior-knowledge", "2"),
    ] {
        let arguments = [version, "-w", " %{http_code} %{http_version}", "-d", "a=b", &url];
        assert_eq!(curl(&arguments).await, format!("3 200 {expected}"));
    }
    let without = serve(served::default().http2(false));
    let told = curl(&["--http2-prior-knowledge", &without.url("/")]).await;
    assert!(told.contains("curl: ("), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_in_both_versions() {
    if !is_installed("h2load", "--version") {
        return;
    }
    let served = serve(served::default());
    for version in [&["-m32"][..], &["--h1"]] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n20000", "-c16"]).args(version).arg(served.url("/"));
        let told = output(h2load).await;
        assert!(told.contains("20000 succeeded, 0 failed, 0 errored"), "{told}");
        let rate = told.lines().find(|line| line.starts_with("finished in")).unwrap_or_default();
        println!("{version:?}: {rate}");
    }
    served.until("closed", |status| status.open == 0).await;
    let status = served.status();
    assert_eq!((status.requests, status.in_flight), (40_000, 0));
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_in_front_writes_the_header() {
    if !is_installed("haproxy", "-v") || !is_installed("curl", "--version") {
        return;
    }
    let trusted = || ProxyProtocol::trusting(["127.0.0.0/8".parse().unwrap()]).unwrap();
    for (option, version) in [
        ("send-proxy", "proxy 1 "),
        ("send-proxy-v2", "proxy 2 "),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", "proxy 2 "),
    ] {
        let served = serve(Listener::builder().socket(loopback().proxy_protocol(trusted())));
        // HAProxy takes no port 0, so a free one is looked for.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
             listen test\n bind 127.0.0.1:{port}\n unique-id-format %ci:%cp\n \
             server one {} {option} check\n",
            served.address
        );
        let name = format!("tower-lb-haproxy-{}-{port}.cfg", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, config).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-db", "-f"]).arg(&file).stdin(Stdio::null());
        let _haproxy = Running(haproxy.spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(10));
            sleep(Duration::from_millis(20)).await;
        }
        for http in ["--http1.1", "--http2-prior-knowledge"] {
            let told = curl(&[http, &format!("http://127.0.0.1:{port}/")]).await;
            assert!(told.contains(version), "{option}: {told}");
            assert!(told.contains(&format!("to 127.0.0.1:{port} tls false")), "{told}");
        }
        assert_eq!(served.status().refused.total(), 0, "{:?}", served.status());
        std::fs::remove_file(&file).unwrap();
    }
}
