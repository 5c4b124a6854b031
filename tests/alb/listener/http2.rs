//! What is particular to HTTP/2: streams, GOAWAY, tunnels in streams, and its own slow clients.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http2::SendRequest, ext::Protocol};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    served::{self, Served, serve},
    wire::{self, PREFACE, SETTINGS, is_installed, output},
};

type NoBody = Empty<Bytes>;

async fn connect(served: &Served) -> (SendRequest<NoBody>, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    (sender, tokio::spawn(connection))
}

async fn get(sender: &mut SendRequest<NoBody>, path: &str) -> hyper::Result<String> {
    let request = Request::get(format!("http://h{path}")).version(Version::HTTP_2);
    let response = sender.send_request(request.body(NoBody::new()).unwrap()).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

/// Whether connections retire by number or by age, a client that heeds GOAWAY loses no request.
///
/// On one thread: with several, hyper's client gives a request up that it has just sent if another
/// thread receives a GOAWAY at that moment.
#[tokio::test]
async fn connections_retire_without_a_lost_request() {
    let by_number = served::default().max_requests(10);
    let by_age = served::default().max_age(Duration::from_millis(100));
    for (builder, least) in [(by_number, 20), (by_age, 3)] {
        let served = serve(builder);
        let client: Client<_, NoBody> =
            Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        for _ in 0..50 {
            let requests = (0..8).map(|_| {
                let uri = served.url("/slow/5").parse().unwrap();
                client.get(uri)
            });
            for response in futures::future::join_all(requests).await {
                let body = response.unwrap().into_body().collect().await.unwrap().to_bytes();
                assert!(body.starts_with(b"HTTP/2.0"));
            }
        }
        drop(client);
        served.until("closed", |status| status.open == 0).await;
        let status = served.status();
        assert_eq!(status.requests, 400);
        assert!(status.accepted >= least, "{status:?}");
        assert!(status.closed.retired >= least - 1, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_above_the_limit_are_refused_and_can_be_repeated() {
    if !is_installed("h2load", "--version") {
        return;
    }
    let served = serve(served::default().max_streams(16));
    // h2load asks for more before it knows the limit. They are refused, which it does not repeat.
    for (streams, refused) in [("-m16", 0), ("-m20", 8)] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n2000", "-c2", streams, &served.url("/")]);
        let told = output(h2load).await;
        let succeeded = format!("{} succeeded, {refused} failed", 2000 - refused);
        assert!(told.contains(&succeeded), "{told}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_told_and_a_busy_one_is_not() {
    let served = serve(served::default().keep_alive(Duration::from_millis(300)));
    let (mut sender, connection) = connect(&served).await;
    for _ in 0..3 {
        // Longer than the limit, in flight.
        get(&mut sender, "/slow/500").await.unwrap();
    }
    // A GOAWAY, and not a reset: the client's connection ends without an error.
    timeout(Duration::from_secs(5), connection).await.unwrap().unwrap().unwrap();
    assert!(get(&mut sender, "/").await.is_err());
    served.until("closed", |status| status.closed.keep_alive == 1).await;
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection() {
    let served = serve(served::default().keep_alive(Duration::from_millis(400)));
    let mut client = wire::Client::connect(served.address).await;
    client.send([PREFACE, SETTINGS].concat()).await;
    // HEADERS of stream 1, END_STREAM and END_HEADERS: GET, http, /, and `:authority` h.
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'h'];
    client.send([&[0, 0, 6, 1, 5, 0, 0, 0, 1][..], &head].concat()).await;
    served.until("requested", |status| status.requests == 1 && status.in_flight == 0).await;
    let start = std::time::Instant::now();
    let (mut read, mut write) = client.0.split();
    let ping = async {
        // Without an acknowledgement of the server's own ping.
        while write.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = async { drop(read.read_to_end(&mut Vec::new()).await) };
    let both = async {
        tokio::select! { () = ping => {}, () = closed => {} }
    };
    timeout(Duration::from_secs(10), both).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    served.until("closed", |status| status.closed.keep_alive == 1).await;
}

/// A client that takes nothing of a response, and shows that it is alive by frames that change
/// nothing.
#[tokio::test]
async fn other_frames_do_not_keep_a_response_that_stands_still() {
    let served = serve(served::default().idle_timeout(Duration::from_millis(400)));
    for (name, frame) in [
        ("PING", &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8][..]),
        ("SETTINGS", SETTINGS),
        // Of another stream, which has not begun: PRIORITY.
        ("PRIORITY", &[0, 0, 5, 2, 0, 0, 0, 0, 9, 0, 0, 0, 0, 1]),
        ("unknown", &[0, 0, 1, 200, 0, 0, 0, 0, 0, 1]),
    ] {
        let before = served.status().closed.idle_timeout;
        let mut client = wire::Client::connect(served.address).await;
        // GET, http, `/endless`, and `:authority` h: the windows of 64 KiB are never extended.
        let head = [&[0x82, 0x86, 0x04, 8][..], b"/endless", &[0x41, 0x01, b'h']].concat();
        let length = u8::try_from(head.len()).unwrap();
        let headers = [&[0, 0, length, 1, 5, 0, 0, 0, 1], &head[..]].concat();
        client.send([PREFACE, SETTINGS, &headers].concat()).await;
        let start = std::time::Instant::now();
        let (mut read, mut write) = client.0.split();
        let send = async {
            while write.write_all(frame).await.is_ok() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let mut received = Vec::new();
        let closed = async { drop(read.read_to_end(&mut received).await) };
        let both = async {
            tokio::select! { () = send => {}, () = closed => {} }
        };
        timeout(Duration::from_secs(10), both).await.expect(name);
        assert!(received.len() > 65_535, "{name}: {}", received.len());
        assert!(start.elapsed() < Duration::from_secs(3), "{name}: {:?}", start.elapsed());
        served.until(name, |status| status.closed.idle_timeout == before + 1).await;
    }
}

/// A slow client whose response goes on is not idle, however long it takes.
#[tokio::test]
async fn a_response_that_goes_on_is_not_idle() {
    let limit = Duration::from_millis(300);
    let served = serve(served::default().idle_timeout(limit).keep_alive(limit));
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(16 * 1024);
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (mut sender, connection) =
        builder.handshake::<_, NoBody>(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://h/large").body(NoBody::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let start = std::time::Instant::now();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        // The service has given its body away at once, and is not in flight any more.
        if start.elapsed() < limit * 4 {
            sleep(limit / 6).await;
        }
    }
    assert_eq!(length, served::LARGE);
    assert!(start.elapsed() > limit * 3);
    drop(sender);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_can_become_a_tunnel_and_is_drained() {
    let builder = served::default()
        .keep_alive(Duration::from_millis(200))
        .idle_timeout(Duration::from_millis(200));
    let served = serve(builder);
    let (mut sender, connection) = connect(&served).await;
    let mut request = Request::builder().method(Method::CONNECT).uri("http://h/echo");
    request.extensions_mut().unwrap().insert(Protocol::from_static("websocket"));
    // The server's SETTINGS allow it.
    get(&mut sender, "/").await.unwrap();
    let mut response = sender.send_request(request.body(NoBody::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
    let mut tunnel = TokioIo::new(upgraded);
    let mut answer = [0; 5];
    for _ in 0..3 {
        sleep(Duration::from_millis(400)).await;
        tunnel.write_all(b"hello").await.unwrap();
        timeout(Duration::from_secs(5), tunnel.read_exact(&mut answer)).await.unwrap().unwrap();
    }
    served.handle.shutdown();
    sleep(Duration::from_millis(1500)).await;
    tunnel.write_all(b"hello").await.unwrap();
    timeout(Duration::from_secs(5), tunnel.read_exact(&mut answer)).await.unwrap().unwrap();
    drop(tunnel);
    drop(sender);
    let drained = served.stop().await;
    assert_eq!((drained.finished, drained.cut_off), (1, 0));
    let _ = connection.await;
}

#[tokio::test]
async fn a_panic_resets_its_stream_only() {
    let served = serve(served::default());
    let (mut sender, _connection) = connect(&served).await;
    assert!(get(&mut sender, "/panic").await.is_err());
    assert!(get(&mut sender, "/").await.unwrap().starts_with("HTTP/2.0"));
    let status = served.status();
    assert_eq!((status.accepted, status.requests, status.in_flight), (1, 2, 0));
}

#[tokio::test]
async fn a_cancelled_request_is_not_in_flight() {
    let served = serve(served::default());
    let (mut sender, _connection) = connect(&served).await;
    let hanging = timeout(Duration::from_millis(200), get(&mut sender, "/hang")).await;
    assert!(hanging.is_err());
    served.until("cancelled", |status| status.requests == 1 && status.in_flight == 0).await;
    assert!(get(&mut sender, "/").await.is_ok());
}
