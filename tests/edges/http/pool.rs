//! The pooled client over real sockets: its connections, their limits, and requests that wait.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::{body::Frame, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tower::{Service, ServiceExt};
use tower_lb::http::{Client, ClientError, ClientErrorKind, Origin, Pool};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

async fn fetch(client: &Client<Empty<Bytes>>) -> Result<Bytes, ClientError> {
    let response = client.clone().oneshot(get()).await?;
    Ok(response.into_body().collect().await.unwrap().to_bytes())
}

async fn listen() -> (TcpListener, Origin) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin::from(listener.local_addr().unwrap());
    (listener, origin)
}

/// Reads one request head, and returns whether there was one.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn until(mut is_true: impl FnMut() -> bool) {
    let waited = Instant::now();
    while !is_true() {
        assert!(waited.elapsed() < Duration::from_secs(10), "it never was");
        sleep(Duration::from_millis(2)).await;
    }
}

/// An HTTP server that counts connections, and answers a request when a permit is added.
#[derive(Clone)]
struct Gated {
    origin: Origin,
    gate: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Gated {
    async fn start(permits: usize, version: Version) -> Self {
        let (listener, origin) = listen().await;
        let this = Self {
            origin,
            gate: Arc::new(Semaphore::new(permits)),
            open: Arc::default(),
            opened: Arc::default(),
            requests: Arc::default(),
        };
        let server = this.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream, version).await });
            }
        });
        this
    }

    async fn serve(self, stream: TcpStream, version: Version) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        let service = service_fn(move |_| {
            let this = this.clone();
            this.requests.fetch_add(1, Ordering::SeqCst);
            async move {
                this.gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
            }
        });
        if version == Version::HTTP_2 {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        } else {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn requests_wait_for_a_connection_in_the_order_of_arrival() {
    let server = Gated::start(0, Version::HTTP_11).await;
    let pool = Pool::new().max_connections(nonzero(2)).max_waiting(nonzero(5));
    let client = pool.client::<Empty<Bytes>>(server.origin.clone());
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    let mut calls = Vec::new();
    for n in 0..7 {
        let (response, order) = (client.clone().call(get()), Arc::clone(&order));
        if n == 1 {
            // The first two may wait for their connections.
            until(|| Gated::count(&server.requests) <= 1).await;
        }
        tasks.push(tokio::spawn(async move {
            let response = response.await.unwrap();
            order.lock().unwrap().push(n);
            response.into_body().collect().await.unwrap();
        }));
        calls.push(n);
        if n < 2 {
            until(|| Gated::count(&server.requests) == n + 1).await;
        }
    }
    let busy = client.clone().oneshot(get()).await.unwrap_err();
    assert_eq!(busy.kind(), ClientErrorKind::Busy);
    // The request that waits as the second is cancelled.
    tasks[3].abort();
    for answered in 1..=6 {
        server.gate.add_permits(1);
        until(|| order.lock().unwrap().len() == answered).await;
    }
    let order = order.lock().unwrap().clone();
    assert_eq!(order[2..], [2, 4, 5, 6]);
    assert_eq!(Gated::count(&server.opened), 2);
}

/// Many requests over few connections, of which a third is cancelled at any time and some
/// connections end. All others are answered, so no connection and no wake-up is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_connection_is_lost_to_cancelled_requests() {
    for (version, limit) in [(Version::HTTP_11, 3), (Version::HTTP_2, 2)] {
        let server = Gated::start(usize::MAX >> 4, version).await;
        let mut pool = Pool::new()
            .max_connections(nonzero(limit))
            .max_streams_per_connection(nonzero(2))
            .max_connection_age(Duration::from_millis(30))
            .max_waiting(nonzero(10_000));
        if version == Version::HTTP_2 {
            pool = pool.http2();
        }
        let client = pool.client::<Empty<Bytes>>(server.origin.clone());
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..3000_u64 {
            let client = client.clone();
            tasks.spawn(async move {
                sleep(Duration::from_micros(n * 7919 % 300_000)).await;
                if n % 3 == 0 {
                    let patience = Duration::from_micros(n * 104_729 % 2000);
                    let _ = timeout(patience, fetch(&client)).await;
                    return;
                }
                assert_eq!(fetch(&client).await.unwrap(), "ok");
            });
        }
        let all = async {
            while let Some(task) = tasks.join_next().await {
                task.unwrap()
            }
        };
        timeout(Duration::from_secs(60), all).await.expect("a request waits forever");
        drop(client);
        until(|| Gated::count(&server.open) == 0).await;
    }
}

/// A new connection is in use before the endpoint has said how many streams it allows.
#[tokio::test]
async fn requests_that_wait_learn_that_the_endpoint_allows_more_streams() {
    // hyper's server allows 200, and a client assumes 100 until it knows.
    let server = Gated::start(0, Version::HTTP_2).await;
    let pool = Pool::new().http2().max_connections(nonzero(1));
    let client = pool.client::<Empty<Bytes>>(server.origin.clone());
    let calls: Vec<_> = (0..150).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    until(|| Gated::count(&server.requests) == 150).await;
    server.gate.add_permits(150);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(Gated::count(&server.opened), 1);
}

/// Otherwise the connection would have more streams than the endpoint allows, and would stall.
#[tokio::test]
async fn a_stream_is_open_until_its_upload_has_ended() {
    let (listener, origin) = listen().await;
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    tokio::spawn(async move {
        let mut connection =
            h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            respond.send_response(Response::new(()), true).unwrap();
            // h2 resets a stream whose body nobody can read.
            held.push((request, respond));
        }
    });
    let pool =
        Pool::new().http2().max_streams_per_connection(nonzero(1)).max_connections(nonzero(1));
    let client =
        pool.client::<StreamBody<mpsc::Receiver<Result<Frame<Bytes>, Infallible>>>>(origin);
    let upload = || {
        let (sender, receiver) = mpsc::channel(1);
        (sender, Request::post("/").body(StreamBody::new(receiver)).unwrap())
    };
    let (first_upload, first) = upload();
    let response = client.clone().oneshot(first).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    let (second_upload, second) = upload();
    let second = tokio::spawn(client.oneshot(second));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(Gated::count(&received), 1);
    drop(first_upload);
    until(|| Gated::count(&received) == 2).await;
    drop(second_upload);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_share_a_connection_up_to_the_limit() {
    let server = Gated::start(0, Version::HTTP_2).await;
    let pool = Pool::new().http2().max_streams_per_connection(nonzero(2));
    let client = pool.clone().client::<Empty<Bytes>>(server.origin.clone());
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    until(|| Gated::count(&server.requests) == 5).await;
    assert_eq!(Gated::count(&server.opened), 3);
    server.gate.add_permits(5);
    for call in calls {
        call.await.unwrap().unwrap().into_body().collect().await.unwrap();
    }
    // A stream lasts until its body has been read.
    let limited = pool.max_connections(nonzero(1)).client::<Empty<Bytes>>(server.origin.clone());
    server.gate.add_permits(9);
    let first = limited.clone().oneshot(get()).await.unwrap();
    let second = limited.clone().oneshot(get()).await.unwrap();
    let mut third = tokio::spawn(limited.clone().oneshot(get()));
    assert!(timeout(Duration::from_millis(50), &mut third).await.is_err());
    drop(first);
    third.await.unwrap().unwrap();
    drop(second);
}

#[tokio::test]
async fn one_attempt_connects_for_all_streams_and_fails_for_all() {
    let (listener, origin) = listen().await;
    let client = Pool::new().http2().client::<Empty<Bytes>>(origin);
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    let (_first, _) = listener.accept().await.unwrap();
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    drop(calls);
    let dead = Pool::new().http2().max_connections(nonzero(1));
    let (listener, origin) = listen().await;
    drop(listener);
    for pool in [dead.clone(), dead.http1()] {
        let client = pool.client::<Empty<Bytes>>(origin.clone());
        let calls: Vec<_> = (0..20).map(|_| client.clone().oneshot(get())).collect();
        for error in futures::future::join_all(calls).await {
            assert_eq!(error.unwrap_err().kind(), ClientErrorKind::Connect);
        }
    }
}

/// The server closes each connection with its first response, but does not announce it. The client
/// sees it when it is about to write the next request.
#[tokio::test]
async fn a_request_that_meets_a_closed_connection_is_sent_on_another_one() {
    let (listener, origin) = listen().await;
    let served = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&served);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                if read_head(&mut stream).await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(OK).await.unwrap();
                }
            });
        }
    });
    let client = Pool::new().client::<Empty<Bytes>>(origin);
    for n in 1..=300 {
        let request = Request::post("/").body(Empty::new()).unwrap();
        let response = client.clone().oneshot(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(served.load(Ordering::SeqCst), n);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_closes_gives_a_typed_error() {
    let (listener, origin) = listen().await;
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    for pool in [Pool::new(), Pool::new().http2()] {
        let error = fetch(&pool.client(origin.clone())).await.unwrap_err();
        use ClientErrorKind as Kind;
        assert!(matches!(error.kind(), Kind::Unsent | Kind::Connection), "{error:?}");
    }
}

#[tokio::test]
async fn a_goaway_ends_a_connection_but_not_its_streams() {
    let (listener, origin) = listen().await;
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let is_first = count.fetch_add(1, Ordering::SeqCst) == 0;
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if is_first {
                        connection.graceful_shutdown();
                    }
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(if is_first { 200 } else { 0 })).await;
                        let mut body = respond.send_response(Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(b"ok"), true).unwrap();
                    });
                }
            });
        }
    });
    let client = Pool::new().http2().client::<Empty<Bytes>>(origin);
    let slow = tokio::spawn({
        let client = client.clone();
        async move { fetch(&client).await }
    });
    until(|| opened.load(Ordering::SeqCst) == 1).await;
    sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    assert_eq!(fetch(&client).await.unwrap(), "ok");
    assert!(started.elapsed() < Duration::from_millis(120), "{:?}", started.elapsed());
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    assert_eq!(slow.await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn a_refused_stream_was_not_processed() {
    let (listener, origin) = listen().await;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
    });
    let error = fetch(&Pool::new().http2().client(origin)).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Unsent);
}

#[tokio::test]
async fn idle_and_old_connections_close() {
    let millis = Duration::from_millis;
    for (pool, version) in [(Pool::new(), Version::HTTP_11), (Pool::new().http2(), Version::HTTP_2)]
    {
        let server = Gated::start(usize::MAX >> 4, version).await;
        let client = pool.clone().idle_timeout(millis(60)).client(server.origin.clone());
        for _ in 0..10 {
            fetch(&client).await.unwrap();
            sleep(millis(20)).await;
        }
        assert_eq!(Gated::count(&server.opened), 1, "in use all the time");
        until(|| Gated::count(&server.open) == 0).await;

        let client = pool.clone().max_connection_age(millis(60)).client(server.origin.clone());
        for _ in 0..10 {
            fetch(&client).await.unwrap();
            sleep(millis(20)).await;
        }
        assert!((3..=6).contains(&Gated::count(&server.opened)), "{:?}", server.opened);
        until(|| Gated::count(&server.open) == 0).await;

        let client = pool.client(server.origin.clone());
        fetch(&client).await.unwrap();
        assert_eq!(Gated::count(&server.open), 1);
        drop(client);
        until(|| Gated::count(&server.open) == 0).await;
    }
}

#[tokio::test]
async fn at_most_so_many_idle_connections_are_kept() {
    let server = Gated::start(0, Version::HTTP_11).await;
    let client = Pool::new().max_idle(2).client::<Empty<Bytes>>(server.origin.clone());
    let calls: Vec<_> = (0..5).map(|_| tokio::spawn(client.clone().oneshot(get()))).collect();
    until(|| Gated::count(&server.requests) == 5).await;
    server.gate.add_permits(5);
    for call in calls {
        call.await.unwrap().unwrap().into_body().collect().await.unwrap();
    }
    until(|| Gated::count(&server.open) == 2).await;
}

#[tokio::test]
async fn a_cancelled_request_closes_its_connection() {
    let server = Gated::start(0, Version::HTTP_11).await;
    let pool = Pool::new().max_connections(nonzero(1));
    let client = pool.client::<Empty<Bytes>>(server.origin.clone());
    assert!(timeout(Duration::from_millis(50), fetch(&client)).await.is_err());
    until(|| Gated::count(&server.open) == 0).await;
    server.gate.add_permits(2);
    assert_eq!(fetch(&client).await.unwrap(), "ok");
}

#[tokio::test]
async fn bodies_of_unknown_length_arrive_whatever_the_method_and_version() {
    let app = axum::Router::new()
        .fallback(async |method: Method, body: String| format!("{method} {body}"));
    let (listener, origin) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    for pool in [Pool::new(), Pool::new().http2()] {
        let client = pool.client(origin.clone());
        for method in [Method::GET, Method::DELETE, Method::POST, Method::PUT] {
            let frames = ["a", "b"].map(|data| Ok::<_, Infallible>(Frame::data(Bytes::from(data))));
            let body = StreamBody::new(futures::stream::iter(frames));
            let request = Request::builder().method(method.clone()).version(Version::HTTP_2);
            let response = client.clone().oneshot(request.body(body).unwrap()).await.unwrap();
            let answer = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(answer, format!("{method} ab"));
        }
    }
}

#[tokio::test]
async fn a_broken_upload_is_the_callers_fault() {
    let app = axum::Router::new().fallback(async |body: Bytes| body);
    let (listener, origin) = listen().await;
    tokio::spawn(async move { axum::serve(listener, app).await });
    for pool in [Pool::new(), Pool::new().http2()] {
        let mut sent = false;
        let body = StreamBody::new(futures::stream::poll_fn(move |cx| {
            if std::mem::replace(&mut sent, true) {
                return std::task::Poll::Ready(Some(Err(std::io::Error::other("broken"))));
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }));
        let request = Request::post("/").body(body).unwrap();
        let error = pool.client(origin.clone()).oneshot(request).await.unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::RequestBody, "{error:?}");
    }
}

#[tokio::test]
async fn upgraded_connections_leave_the_pool() {
    let (listener, origin) = listen().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await.unwrap();
                if !head.contains("upgrade: websocket") {
                    return stream.write_all(OK).await;
                }
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                               upgrade: websocket\r\n\r\n";
                stream.write_all(answer).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.map(drop)
            });
        }
    });
    let pool = Pool::new().max_connections(nonzero(1));
    let client = pool.client::<Empty<Bytes>>(origin);
    let request =
        || Request::get("/chat").header("connection", "upgrade").header("upgrade", "websocket");
    let request = request().body(Empty::new()).unwrap();
    let response = client.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    tunnel.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    tunnel.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
    // The tunnel counts as a connection until it ends.
    let mut next = tokio::spawn({
        let client = client.clone();
        async move { fetch(&client).await }
    });
    assert!(timeout(Duration::from_millis(50), &mut next).await.is_err());
    drop(tunnel);
    assert_eq!(next.await.unwrap().unwrap(), "ok");
}

#[tokio::test]
async fn websockets_pass_http2_by_extended_connect() {
    for is_enabled in [true, false] {
        let (listener, origin) = listen().await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |mut request: Request<hyper::body::Incoming>| {
                assert_eq!(request.method(), Method::CONNECT);
                assert!(!request.headers().contains_key("sec-websocket-key"));
                tokio::spawn(async move {
                    let tunnel = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
                    let (mut read, mut write) = tokio::io::split(tunnel);
                    tokio::io::copy(&mut read, &mut write).await
                });
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            });
            let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            if is_enabled {
                server.enable_connect_protocol();
            }
            server.serve_connection(TokioIo::new(stream), service).await
        });
        let client = Pool::new().http2().client::<Empty<Bytes>>(origin);
        let request = Request::get("/chat")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let result = client.oneshot(request.body(Empty::new()).unwrap()).await;
        if !is_enabled {
            assert_eq!(result.unwrap_err().kind(), ClientErrorKind::Unsupported);
            continue;
        }
        let response = result.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        tunnel.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        tunnel.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
    }
}

#[tokio::test]
async fn a_client_is_always_ready_and_asks_for_a_runtime_only_to_connect() {
    let mut client = Pool::new().client::<Empty<Bytes>>("http://127.0.0.1:9".parse().unwrap());
    poll_fn(|cx| Service::<Request<_>>::poll_ready(&mut client, cx)).await.unwrap();
    let outside = std::thread::spawn(move || futures::executor::block_on(client.call(get())));
    let error = tokio::task::spawn_blocking(|| outside.join()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Connect);
}

#[tokio::test]
async fn a_connection_attempt_has_a_limit() {
    // The backlog of this listener is full, so connections stay half open.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(tokio::spawn(async move {
            let stream = TcpStream::connect(address).await;
            pending::<()>().await;
            drop(stream);
        }));
    }
    sleep(Duration::from_millis(50)).await;
    let pool = Pool::new().connect_timeout(Duration::from_millis(100));
    let started = Instant::now();
    let error = fetch(&pool.client(address.into())).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Connect);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn the_status_counts_connections_and_why_they_failed() {
    let server = Gated::start(usize::MAX >> 4, Version::HTTP_11).await;
    let pool = Pool::new().name("users").connect_timeout(Duration::from_millis(50));
    let client = pool.client::<Empty<Bytes>>(server.origin.clone());
    fetch(&client).await.unwrap();
    fetch(&client).await.unwrap();
    let status = pool.status();
    assert_eq!((&*status.name, status.open, status.opened), ("users", 1, 1));

    let (_socket, address) = crate::refusing();
    let refusing = pool.client::<Empty<Bytes>>(address.into());
    fetch(&refusing).await.unwrap_err();
    let https = server.origin.to_string().replace("http:", "https:");
    let no_tls = pool.client::<Empty<Bytes>>(https.parse().unwrap());
    fetch(&no_tls).await.unwrap_err();
    // A name that never exists: there is no address, or no answer within the time.
    let unknown = pool.client::<Empty<Bytes>>("http://unknown.invalid".parse().unwrap());
    fetch(&unknown).await.unwrap_err();
    let failed = pool.status().failed;
    assert_eq!((failed.refused, failed.tls, failed.total()), (1, 1, 3), "{failed}");

    drop((client, refusing, no_tls, unknown));
    until(|| pool.status().open == 0).await;
    let shown = pool.status().to_string();
    assert!(shown.starts_with("users: 0 of 1 connections open, 3 failed (1 refused, "), "{shown}");
}
