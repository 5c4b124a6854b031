//! Graceful shutdown: what finishes, what is cut off, and what is reported.

use std::{process::Command, time::Duration};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    served::{self, serve, serve_for},
    wire::{Client, is_installed, output},
};

const UPGRADE: &str =
    "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

#[tokio::test]
async fn idle_connections_close_and_requests_finish() {
    let served = serve(served::default());
    let mut idle = Client::connect(served.address).await;
    idle.get("/").await;
    let mut busy = Client::connect(served.address).await;
    busy.send("GET /slow/600 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut fresh = Client::connect(served.address).await;
    served.until("two requests", |status| status.requests == 2).await;
    served.handle.shutdown();
    let (answer, time) = idle.rest().await;
    assert!(answer.is_empty() && time < Duration::from_millis(500), "{time:?} {answer}");
    // A connection without a request yet may have one, if it comes soon.
    assert!(fresh.get("/").await.contains("connection: close"));
    assert!(busy.response().await.contains("connection: close"));
    assert!(TcpStream::connect(served.address).await.is_err(), "the socket is closed");
    let drained = served.stop().await;
    assert_eq!((drained.finished, drained.cut_off, drained.requests_cut_off), (3, 0, 0));
}

#[tokio::test]
async fn a_client_without_a_request_does_not_hold_the_drain() {
    let served = serve(served::default());
    let mut client = Client::connect(served.address).await;
    served.until("open", |status| status.open == 1).await;
    let start = std::time::Instant::now();
    let drained = served.stop().await;
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!((drained.finished, drained.cut_off), (1, 0));
    assert_eq!(client.rest().await.0, "");
}

#[tokio::test]
async fn what_is_left_is_cut_off_and_reported() {
    let served = serve_for(served::default(), Duration::from_millis(400));
    let mut hanging = Client::connect(served.address).await;
    hanging.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut tunnel = Client::connect(served.address).await;
    tunnel.send(UPGRADE).await;
    tunnel.until("\r\n\r\n").await;
    served.until("in flight", |status| status.in_flight >= 1 && status.open == 2).await;
    served.handle.shutdown();
    sleep(Duration::from_millis(100)).await;
    tunnel.send("still here").await;
    tunnel.until("still here").await;
    let handle = served.handle.clone();
    let drained = served.stop().await;
    assert_eq!((drained.finished, drained.cut_off, drained.requests_cut_off), (0, 2, 1));
    assert_eq!(hanging.rest().await.0, "");
    assert_eq!(tunnel.rest().await.0, "");
    sleep(Duration::from_millis(50)).await;
    assert_eq!((handle.status().closed.cut_off, handle.status().open), (2, 0));
}

#[tokio::test]
async fn a_tunnel_that_ends_in_time_is_not_cut_off() {
    let served = serve(served::default());
    let mut tunnel = Client::connect(served.address).await;
    tunnel.send(UPGRADE).await;
    tunnel.until("\r\n\r\n").await;
    served.handle.shutdown();
    sleep(Duration::from_millis(200)).await;
    assert!(!served.task.is_finished());
    drop(tunnel);
    let drained = served.stop().await;
    assert_eq!((drained.finished, drained.cut_off), (1, 0));
}

#[tokio::test]
async fn a_dropped_listener_ends_its_connections_and_tunnels() {
    let served = serve(served::default());
    let mut busy = Client::connect(served.address).await;
    busy.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut tunnel = Client::connect(served.address).await;
    tunnel.send(UPGRADE).await;
    tunnel.until("\r\n\r\n").await;
    served.until("open", |status| status.open == 2 && status.requests == 2).await;
    served.task.abort();
    assert_eq!(busy.rest().await.0, "");
    assert_eq!(tunnel.rest().await.0, "");
    served.until("closed", |status| status.open == 0 && status.closed.cut_off == 2).await;
}

/// h2load sends at a rate for longer than the listener lives: requests that were sent must not
/// fail because of the drain, only those after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_no_request() {
    if !is_installed("h2load", "--version") {
        return;
    }
    for version in [&[][..], &["--h1"]] {
        let served = serve(served::default());
        let url = served.url("/slow/20");
        let mut h2load = Command::new("h2load");
        // Each client has one request in flight at a time and up to 10 with HTTP/2.
        h2load.args(["-n", "100000", "-c20", "-m10"]).args(version).arg(url);
        let load = tokio::spawn(output(h2load));
        served.until("load", |status| status.requests > 500).await;
        let handle = served.handle.clone();
        let drained = served.stop().await;
        let status = handle.status();
        let told = load.await.unwrap();
        // Every request that was received was answered.
        let succeeded: u64 = told
            .lines()
            .find_map(|line| line.strip_prefix("status codes: ")?.split_once(" 2xx"))
            .map_or(0, |(count, _)| count.parse().unwrap());
        assert_eq!(succeeded, status.requests, "{told}\n{status:?}");
        assert_eq!((drained.cut_off, drained.requests_cut_off), (0, 0), "{status:?}");
        assert_eq!(drained.finished, 20, "{status:?}");
    }
}
