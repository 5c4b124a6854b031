//! Clients that take their time: each is closed by the limit that is meant for it.

use std::time::Duration;

use tokio::{io::AsyncReadExt, time::sleep};
use tower_lb::listener::ListenerBuilder;

use crate::{
    served::{self, serve},
    wire::{Client, PREFACE, SETTINGS},
};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(300);

/// All limits but the tested ones are long.
fn patient() -> ListenerBuilder {
    served::default()
        .head_timeout(LONG)
        .keep_alive(LONG)
        .idle_timeout(LONG)
        .write_timeout(LONG)
        .tunnel_idle(LONG)
}

fn assert_took(time: Duration, limit: Duration) {
    let most = limit + Duration::from_millis(1500);
    assert!(time + Duration::from_millis(50) >= limit && time < most, "{time:?}");
}

#[tokio::test]
async fn a_silent_client_and_part_of_a_preface() {
    let served = serve(patient().head_timeout(SHORT));
    for bytes in [&b""[..], b"PRI * HTTP/2.0\r\n\r\n", PREFACE, &[PREFACE, SETTINGS].concat()] {
        let mut client = Client::connect(served.address).await;
        client.send(bytes).await;
        let (_, time) = client.rest().await;
        assert_took(time, SHORT);
    }
    served.until("4 closed", |status| status.closed.head_timeout == 4).await;
    assert_eq!(served.status().open, 0);
}

#[tokio::test]
async fn part_of_a_head_gets_408() {
    let served = serve(patient().head_timeout(SHORT));
    // Byte by byte: progress does not extend the limit.
    let mut client = Client::connect(served.address).await;
    let start = std::time::Instant::now();
    let (mut read, mut write) = client.0.split();
    let trickle = async {
        use tokio::io::AsyncWriteExt;
        for byte in b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'))
        {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    let read = async { drop(read.read_to_end(&mut answer).await) };
    tokio::select! { () = trickle => {}, () = read => {} }
    assert_took(start.elapsed(), SHORT);
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());

    // The same for the second request of a connection, from its first byte on.
    let mut client = Client::connect(served.address).await;
    assert!(client.get("/").await.starts_with("HTTP/1.1 200"));
    sleep(SHORT * 2).await;
    client.send("GET / HT").await;
    let (answer, time) = client.rest().await;
    assert_took(time, SHORT);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(served.status().closed.head_timeout, 2);
}

#[tokio::test]
async fn no_further_request() {
    let served = serve(patient().keep_alive(SHORT));
    let mut client = Client::connect(served.address).await;
    for _ in 0..3 {
        client.get("/").await;
        sleep(SHORT / 2).await;
    }
    let (answer, _) = client.rest().await;
    assert_eq!(answer, "");
    served.until("closed", |status| status.closed.keep_alive == 1).await;
}

#[tokio::test]
async fn a_body_that_stops_and_a_response_that_does_not_come() {
    let served = serve(patient().idle_timeout(SHORT));
    for request in [
        "POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345",
        "GET /hang HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let mut client = Client::connect(served.address).await;
        client.send(request).await;
        let (answer, time) = client.rest().await;
        assert_took(time, SHORT);
        assert_eq!(answer, "");
    }
    served.until("closed", |status| status.closed.idle_timeout == 2).await;
    assert_eq!((served.status().in_flight, served.status().open), (0, 0));
}

#[tokio::test]
async fn a_slow_body_that_goes_on_is_served() {
    let served = serve(patient().idle_timeout(SHORT).head_timeout(SHORT));
    let mut client = Client::connect(served.address).await;
    client.send("POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n").await;
    for _ in 0..10 {
        sleep(SHORT / 3).await;
        client.send("x").await;
    }
    assert!(client.response().await.ends_with("10"));
}

#[tokio::test]
async fn a_client_that_reads_nothing() {
    let served = serve(patient().write_timeout(SHORT));
    let mut client = Client::connect(served.address).await;
    client.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").await;
    served.until("closed", |status| status.closed.write_timeout == 1).await;
    assert_eq!(served.status().open, 0);
    // One that reads slowly is served.
    let mut client = Client::connect(served.address).await;
    client.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let mut piece = vec![0; 4 << 20];
    for _ in 0..6 {
        sleep(SHORT / 2).await;
        client.0.read_exact(&mut piece).await.unwrap();
    }
    assert_eq!(served.status().closed.write_timeout, 1);
}

/// The service has given its response away at once, so no request is in flight while the client
/// reads it. The limit between two requests must not cut the response off.
#[tokio::test]
async fn a_response_that_is_read_slowly() {
    for builder in [patient().keep_alive(SHORT), patient().keep_alive(SHORT).idle_timeout(SHORT)] {
        let served = serve(builder);
        let mut client = Client::connect(served.address).await;
        client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").await;
        client.until("\r\n\r\n").await;
        let start = std::time::Instant::now();
        let mut piece = vec![0; served::LARGE / 24];
        for _ in 0..24 {
            sleep(SHORT / 3).await;
            client.0.read_exact(&mut piece).await.expect("the whole response");
        }
        assert!(start.elapsed() > SHORT * 5);
        let (answer, _) = client.rest().await;
        assert_eq!(answer, "");
        served.until("closed", |status| status.closed.keep_alive == 1).await;
    }
}

/// Limits of time that no clock reaches, or that are over at once.
#[tokio::test]
async fn extreme_limits() {
    let all = |time| {
        served::default()
            .head_timeout(time)
            .keep_alive(time)
            .idle_timeout(time)
            .write_timeout(time)
            .tunnel_idle(time)
            .max_age(time)
    };
    for time in [Duration::MAX, Duration::from_secs(u64::MAX / 1000), Duration::from_secs(1 << 36)]
    {
        let served = serve(all(time));
        let mut client = Client::connect(served.address).await;
        for _ in 0..3 {
            let answer = client.get("/").await;
            assert!(answer.contains("200 OK") && !answer.contains("connection: close"), "{answer}");
        }
        served.stop().await;
    }
    let served = serve(all(Duration::from_nanos(1)));
    let mut client = Client::connect(served.address).await;
    client.rest().await;
    served.until("closed", |status| status.open == 0 && status.closed.total() == 1).await;
}

#[tokio::test]
async fn a_silent_tunnel() {
    let served =
        serve(patient().tunnel_idle(SHORT).idle_timeout(SHORT / 3).head_timeout(SHORT / 3));
    let mut client = Client::connect(served.address).await;
    client
        .send("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    for _ in 0..4 {
        sleep(SHORT * 2 / 3).await;
        client.send("hello\n").await;
        assert_eq!(client.until("\n").await, "hello\n");
    }
    assert_eq!(served.status().open, 1);
    let (_, time) = client.rest().await;
    assert_took(time, SHORT);
    served.until("closed", |status| status.closed.idle_timeout == 1 && status.open == 0).await;
}

#[tokio::test]
async fn the_default_limits_leave_an_honest_client_alone() {
    let served = serve(served::default());
    let mut client = Client::connect(served.address).await;
    for _ in 0..100 {
        assert!(client.get("/").await.contains("200 OK"));
    }
    let status = served.status();
    assert_eq!((status.accepted, status.open, status.requests), (1, 1, 100));
    drop(client);
    served.until("closed", |status| status.closed.finished == 1).await;
    let status = served.status();
    assert!(status.bytes_in > 2000 && status.bytes_out > 10_000, "{status:?}");
    assert_eq!(status.in_flight, 0);
}
