//! Limits of number, size and age.

use std::time::Duration;

use tokio::time::sleep;
use tower_lb::listener::{ListenError, Listener, Socket};

use crate::{
    served::{self, serve},
    wire::{Client, curl, is_installed},
};

#[tokio::test]
async fn connections_above_the_limit_are_closed_and_counted() {
    let served = serve(served::default().max_connections(2));
    let mut one = Client::connect(served.address).await;
    let mut two = Client::connect(served.address).await;
    one.get("/").await;
    two.get("/").await;
    // They do not wait until there is room.
    for _ in 0..20 {
        let (answer, time) = Client::connect(served.address).await.rest().await;
        assert!(answer.is_empty() && time < Duration::from_secs(1), "{time:?} {answer}");
    }
    drop(one);
    served.until("one is closed", |status| status.open == 1).await;
    assert!(Client::connect(served.address).await.get("/").await.contains("200 OK"));
    let status = served.status();
    assert_eq!((status.accepted, status.refused.connections), (23, 20));
}

#[tokio::test]
async fn a_tunnel_keeps_its_place() {
    let served = serve(served::default().max_connections_per_address(1));
    let mut tunnel = Client::connect(served.address).await;
    tunnel
        .send("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    tunnel.until("\r\n\r\n").await;
    let (answer, _) = Client::connect(served.address).await.rest().await;
    assert_eq!(answer, "");
    served.until("refused", |status| status.refused.connections_per_address == 1).await;
    tunnel.send("x").await;
    tunnel.until("x").await;
    drop(tunnel);
    served.until("closed", |status| status.open == 0).await;
    assert!(Client::connect(served.address).await.get("/").await.contains("200 OK"));
}

#[tokio::test]
async fn the_last_request_says_so() {
    let served = serve(served::default().max_requests(3));
    let mut client = Client::connect(served.address).await;
    for _ in 0..2 {
        assert!(!client.get("/").await.contains("connection: close"));
    }
    assert!(client.get("/").await.contains("connection: close"));
    assert_eq!(client.rest().await.0, "");
    served.until("retired", |status| status.closed.retired == 1).await;
}

#[tokio::test]
async fn an_old_connection_ends_with_its_next_response() {
    let served = serve(served::default().max_age(Duration::from_millis(300)));
    let mut client = Client::connect(served.address).await;
    assert!(!client.get("/").await.contains("connection: close"));
    sleep(Duration::from_millis(400)).await;
    assert!(client.get("/").await.contains("connection: close"));
    assert_eq!(client.rest().await.0, "");
    served.until("retired", |status| status.closed.retired == 1).await;
}

#[tokio::test]
async fn a_large_head_gets_431() {
    let served = serve(served::default().max_head_bytes(4096));
    let mut client = Client::connect(served.address).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(3000))).await;
    assert!(client.response().await.starts_with("HTTP/1.1 200"));
    client.send(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(5000))).await;
    assert!(client.rest().await.0.starts_with("HTTP/1.1 431"));
    if is_installed("curl", "--version") {
        let field = format!("X: {}", "x".repeat(5000));
        let url = served.url("/");
        let told =
            curl(&["--http2-prior-knowledge", "-w", "%{http_code}", "-H", &field, &url]).await;
        assert!(told.contains("431"), "{told}");
    }
}

#[tokio::test]
async fn a_panic_closes_its_connection_only() {
    let served = serve(served::default());
    let mut client = Client::connect(served.address).await;
    client.send("GET /panic HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.rest().await.0, "");
    served.until("failed", |status| status.closed.failed == 1 && status.open == 0).await;
    assert!(Client::connect(served.address).await.get("/").await.contains("200 OK"));
    assert_eq!(served.status().in_flight, 0);
}

#[tokio::test]
async fn nonsense_is_refused_when_bound() {
    let field = |error: ListenError| match error {
        ListenError::Config(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let error = |builder: tower_lb::listener::ListenerBuilder| field(builder.bind().unwrap_err());
    assert_eq!(error(Listener::builder()), "`socket`: expected at least one");
    let zero = served::default().head_timeout(Duration::ZERO);
    assert_eq!(error(zero), "`head_timeout` is 0 s: expected a time above 0");
    let acceptors = Listener::builder().socket(served::loopback().acceptors(0));
    assert_eq!(error(acceptors), "`acceptors` is 0: expected 1 to 1024");
    let unix = Listener::builder().socket(Socket::unix("/tmp/none").acceptors(2));
    assert!(error(unix).starts_with("`acceptors` is 2: expected 1 for"));
    let taken = serve(served::default());
    let again = Listener::builder().socket(Socket::tcp(taken.address)).bind().unwrap_err();
    assert!(again.to_string().starts_with(&format!("cannot listen on {}: ", taken.address)));
}
