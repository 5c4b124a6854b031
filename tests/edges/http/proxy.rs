//! The duties of a reverse proxy, between raw sockets: what the endpoint receives, byte for byte,
//! and what the client does.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    ext::Protocol,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    endpoint::Endpoint,
    http::{
        ClientConnection, GatewayLayer, Origin, Pool, ProxyBuilder, ProxyLayer, ReplayBody,
        RequestBody, ResilienceLayer, Tunnels,
    },
    strategy::RoundRobin,
};

const SECOND: Duration = Duration::from_secs(1);

/// Serves a balancer over one endpoint behind the proxy.
async fn serve(backend: SocketAddr, settings: ProxyBuilder) -> SocketAddr {
    serve_and_watch(backend, settings).await.0
}

/// Also returns what tells how many requests the endpoint has in flight.
async fn serve_and_watch(
    backend: SocketAddr,
    settings: ProxyBuilder,
) -> (SocketAddr, impl Fn() -> u32) {
    let connector = Pool::new().connector::<ReplayBody<RequestBody<Incoming>>>();
    let endpoints = discover::addresses([Origin::from(backend)]).connect(connector);
    let balancer = Builder::http().spawn(RoundRobin::default(), endpoints).unwrap();
    let stack = ServiceBuilder::new()
        .layer(settings.build().unwrap())
        .layer(GatewayLayer)
        .layer(ResilienceLayer::default())
        .service(balancer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, peer)) = listener.accept().await {
            let stack = stack.clone();
            let connection = ClientConnection::new(peer, local);
            let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                stack.clone().oneshot(request)
            });
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http1().timer(TokioTimer::new());
                server.http2().enable_connect_protocol();
                let io = TokioIo::new(socket);
                let _ = server.serve_connection_with_upgrades(io, service).await;
            });
        }
    });
    (local, move || balancer.status().endpoints[0].outstanding)
}

/// An endpoint that answers each connection's first request with fixed bytes, and tells what it
/// received.
async fn backend(response: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::spawn(async move {
                let request = read_message(&mut socket).await;
                let _ = requests.send(request.clone());
                socket.write_all(answer(&request, response).as_bytes()).await.unwrap();
                // Echoes what comes after a switch of protocols.
                let (mut reader, mut writer) = socket.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    (address, received)
}

/// Fills in the answer to the key of a WebSocket.
fn answer(request: &str, response: &str) -> String {
    let key = request.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let key = key.unwrap_or_default().to_owned() + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    response.replace("{accept}", &STANDARD.encode(Sha1::digest(key)))
}

/// Reads a head, and a body with a length or in chunks.
async fn read_message(socket: &mut TcpStream) -> String {
    let mut message = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&message);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            let is_whole = if head.contains("transfer-encoding: chunked") {
                body.contains("0\r\n") && body.ends_with("\r\n\r\n")
            } else {
                body.len() >= length.unwrap_or(0)
            };
            if is_whole {
                return text.into_owned();
            }
        }
        let mut buffer = [0; 4096];
        match timeout(SECOND, socket.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => message.extend_from_slice(&buffer[..read]),
            _ => return String::from_utf8_lossy(&message).into_owned(),
        }
    }
}

/// Sends raw bytes and returns the first response.
async fn send(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    read_message(&mut socket).await
}

/// Returns the lines of a head, sorted but for the first, without `Date`.
fn lines(message: &str) -> Vec<String> {
    let head = message.split("\r\n\r\n").next().unwrap();
    let mut lines: Vec<_> = head.split("\r\n").map(str::to_lowercase).collect();
    lines.retain(|line| !line.starts_with("date: "));
    lines[1..].sort();
    lines
}

fn plain() -> ProxyBuilder {
    ProxyLayer::builder().via(None).forwarded_fields(tower_lb::http::ForwardedFields::Remove)
}

async fn http2(
    address: SocketAddr,
) -> hyper::client::conn::http2::SendRequest<http_body_util::Either<Empty<Bytes>, Full<Bytes>>> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Asks for a WebSocket by extended `CONNECT`.
async fn open_websocket(address: SocketAddr) -> http::Response<Incoming> {
    let mut client = http2(address).await;
    // The client learns from the settings of the server that it may ask.
    let ping = Request::get("http://a/").body(http_body_util::Either::Left(Empty::new())).unwrap();
    let _ = client.send_request(ping).await;
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a/chat")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(http_body_util::Either::Left(Empty::new()))
        .unwrap();
    client.send_request(request).await.unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn each_hop_has_its_own_version() {
    for response in [OK, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"] {
        let (endpoint, mut received) = backend(response).await;
        let address = serve(endpoint, plain()).await;
        let response = send(address, "GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(!response.to_lowercase().contains("connection: close"), "{response}");
        let request = received.recv().await.unwrap();
        assert_eq!(lines(&request), ["get /a http/1.1", "host: shop.example"]);

        let (endpoint, mut received) = backend(OK).await;
        let address = serve(endpoint, plain()).await;
        let response = send(address, "GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n").await;
        assert!(response.starts_with("HTTP/1.0 200 OK\r\n"), "{response}");
        let request = received.recv().await.unwrap();
        assert_eq!(lines(&request), ["get /a http/1.1", "host: shop.example"]);
    }
    let (endpoint, mut received) = backend(OK).await;
    let address = serve(endpoint, plain()).await;
    let body = http_body_util::Either::Right(Full::new(Bytes::from("body")));
    let request = Request::post("http://shop.example/a").body(body).unwrap();
    let response = http2(address).await.send_request(request).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    let request = received.recv().await.unwrap();
    assert_eq!(lines(&request)[0], "post /a http/1.1");
    assert!(request.ends_with("\r\n\r\nbody"), "{request}");
    assert!(lines(&request).contains(&"host: shop.example".to_owned()));
}

#[tokio::test]
async fn fields_of_a_connection_stay_on_it() {
    let (endpoint, mut received) = backend(
        "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\n\
         Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let address = serve(endpoint, plain()).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n\
                   Connection: X-Other\r\nX-Other: 2\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\nProxy-Connection: keep-alive\r\n\
                   Proxy-Authorization: Basic eDp5\r\nX-Kept: 1\r\nExpect: 100-continue\r\n\r\n";
    let response = send(address, request).await;
    assert_eq!(
        lines(&response),
        ["http/1.1 200 ok", "connection: close", "content-length: 2", "x-kept: 1"]
    );
    let request = lines(&received.recv().await.unwrap());
    let allowed = ["get / http/1.1", "connection: te", "host: a", "te: trailers", "x-kept: 1"];
    assert!(request.iter().all(|line| allowed.contains(&line.as_str())), "{request:?}");
    assert!(
        request.contains(&"te: trailers".to_owned()) && request.contains(&"x-kept: 1".to_owned())
    );
}

#[tokio::test]
async fn the_client_is_described_by_who_has_seen_it() {
    let (endpoint, mut received) = backend(OK).await;
    let settings = ProxyLayer::builder().request_id("x-request-id".parse().unwrap());
    let address = serve(endpoint, settings).await;
    let request =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nTraceparent: 00-1\r\n\r\n";
    send(address, request).await;
    let request = lines(&received.recv().await.unwrap());
    for expected in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: a",
        &format!("x-forwarded-port: {}", address.port()),
        "via: 1.1 tower-lb",
        "traceparent: 00-1",
    ] {
        assert!(request.contains(&expected.to_owned()), "{expected} in {request:?}");
    }
    assert!(request.iter().any(|line| line.len() == "x-request-id: ".len() + 32));
}

#[tokio::test]
async fn what_cannot_be_forwarded_is_refused() {
    let (endpoint, mut received) = backend(OK).await;
    let settings = plain().max_body(5).max_target(20);
    let address = serve(endpoint, settings).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n", "400"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "405"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", "405"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n123456", "413"),
        ("GET /23456789012345678901 HTTP/1.1\r\nHost: a\r\n\r\n", "414"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "417"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
    ] {
        let response = send(address, request).await;
        assert_eq!(response.split(' ').nth(1), Some(status), "{request}: {response}");
        let closes = response.to_lowercase().contains("connection: close");
        assert_eq!(closes, !request.starts_with("TRACE"), "{request}: {response}");
    }
    assert!(received.try_recv().is_err());
    // A body without a declared length is counted as it comes.
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    let response = send(address, chunked).await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    let options = "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
    assert!(send(address, options).await.starts_with("HTTP/1.1 204 "));
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_a_tunnel_until_either_side_closes() {
    let (endpoint, mut received) = backend(SWITCHED).await;
    let tunnels = Tunnels::new();
    let (address, outstanding) = serve_and_watch(endpoint, plain().upgrades(tunnels.clone())).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let response = read_message(&mut socket).await;
    assert_eq!(
        lines(&response),
        [
            "http/1.1 101 switching protocols",
            "connection: upgrade",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
            "upgrade: websocket",
        ]
    );
    let request = lines(&received.recv().await.unwrap());
    assert!(request.contains(&"connection: upgrade".to_owned()), "{request:?}");
    socket.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!((&echo, tunnels.count(), outstanding()), (b"ping", 1, 1));
    drop(socket);
    assert_eq!(timeout(SECOND, tunnels.drain(Duration::MAX)).await, Ok(0));
    assert_eq!(outstanding(), 0);
}

#[tokio::test]
async fn a_websocket_over_http2_reaches_an_endpoint_with_http1() {
    let (endpoint, mut received) = backend(SWITCHED).await;
    let tunnels = Tunnels::new();
    let address = serve(endpoint, plain().upgrades(tunnels.clone())).await;
    let mut response = open_websocket(address).await;
    received.recv().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let request = lines(&received.recv().await.unwrap());
    assert_eq!(request[0], "get /chat http/1.1");
    assert!(request.iter().any(|line| line.starts_with("sec-websocket-key: ")), "{request:?}");
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    io.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
    // The others are closed when the time is over.
    assert_eq!(timeout(SECOND, tunnels.drain(Duration::ZERO)).await, Ok(1));
}

/// What an endpoint that repeats a request, or means another protocol, says.
#[tokio::test]
async fn only_the_protocol_that_was_asked_for_is_a_tunnel() {
    let upgrade = |upgrade: &str| {
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n")
    };
    const OTHER: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let (endpoint, _received) = backend(OTHER).await;
    let address = serve(endpoint, plain().upgrades(Tunnels::new())).await;
    assert!(send(address, &upgrade("websocket")).await.starts_with("HTTP/1.1 502 "));

    const WRONG: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let (endpoint, _received) = backend(WRONG).await;
    let address = serve(endpoint, plain().upgrades(Tunnels::new())).await;
    let response = open_websocket(address).await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn connect_is_a_tunnel_where_it_is_allowed() {
    let (endpoint, mut received) = backend("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await;
    let tunnels = Tunnels::new();
    let settings = plain().upgrades(tunnels.clone()).connect(true);
    let (address, outstanding) = serve_and_watch(endpoint, settings).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = "CONNECT db.example:5432 HTTP/1.1\r\nHost: x\r\n\
                   Proxy-Authorization: Basic eDp5\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let response = read_message(&mut socket).await;
    assert_eq!(lines(&response), ["http/1.1 200 ok"], "a tunnel has no length");
    assert_eq!(
        lines(&received.recv().await.unwrap()),
        [
            "connect db.example:5432 http/1.1",
            "host: db.example:5432",
            "proxy-authorization: basic edp5",
        ]
    );
    socket.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!((&echo, outstanding()), (b"ping", 1));
    drop(socket);
    assert_eq!(timeout(SECOND, tunnels.drain(Duration::MAX)).await, Ok(0));
    assert_eq!(outstanding(), 0);
    let refused = send(address, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\nx");
    assert!(refused.await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn the_asterisk_form_reaches_the_endpoint() {
    let (endpoint, mut received) = backend(OK).await;
    let address = serve(endpoint, plain()).await;
    let request = "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n";
    assert!(send(address, request).await.starts_with("HTTP/1.1 200 "));
    let request = lines(&received.recv().await.unwrap());
    assert_eq!(request, ["options * http/1.1", "host: a", "max-forwards: 0"]);
}

/// A length beside a transfer coding is not the length of the body that is forwarded.
#[tokio::test]
async fn a_response_has_one_framing() {
    const BOTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\
                        Connection: close\r\n\r\n5\r\nabcde\r\n0\r\n\r\n";
    let (endpoint, _received) = backend(BOTH).await;
    let address = serve(endpoint, plain()).await;
    let response = send(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!response.to_lowercase().contains("content-length"), "{response}");
    assert!(response.ends_with("5\r\nabcde\r\n0\r\n\r\n"), "{response}");

    const CODED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    let (endpoint, _received) = backend(CODED).await;
    let address = serve(endpoint, plain()).await;
    let response = send(address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}

/// The endpoint has answered, so its answer counts, although the body exceeds the limit later.
#[tokio::test]
async fn an_answer_before_the_end_of_the_body_is_the_endpoints() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = serve(listener.local_addr().unwrap(), plain().max_body(5)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    endpoint.read_exact(&mut [0; 64]).await.unwrap();
    let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    endpoint.write_all(answer.as_bytes()).await.unwrap();
    let response = read_message(&mut client).await;
    assert!(response.starts_with("HTTP/1.1 401 "), "{response}");
}

/// Also where the endpoint is a service of this process, which returns the error of the body.
#[tokio::test]
async fn a_body_that_breaks_a_limit_is_charged_to_no_endpoint() {
    type Body = StreamBody<futures::stream::Iter<std::array::IntoIter<Frames, 1>>>;
    let reads = service_fn(|request: Request<RequestBody<Body>>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(http::Response::new(Full::new(body)))
    });
    let endpoints = discover::list([("a", Endpoint::new(reads))]);
    let balancer = Builder::http().spawn(RoundRobin::default(), endpoints).unwrap();
    let proxy = plain().max_body(3).build().unwrap();
    let service = ServiceBuilder::new().layer(proxy).layer(GatewayLayer).service(balancer.clone());
    let post = |sent: &'static str| {
        let frames: [Frames; 1] = [Ok(Frame::data(Bytes::from(sent)))];
        let body = StreamBody::new(futures::stream::iter(frames));
        service.clone().oneshot(Request::post("/").header("host", "a").body(body).unwrap())
    };
    let response = post("abc").await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    assert_eq!(post("abcd").await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let outcomes = balancer.status().endpoints[0].outcomes;
    assert_eq!((outcomes.success, outcomes.cancelled, outcomes.total()), (1, 1, 2));
}

type Frames = Result<Frame<Bytes>, std::convert::Infallible>;

/// On HTTP/2, trailers with fields of a connection would reset the stream.
#[tokio::test]
async fn trailers_lose_what_has_no_place_there() {
    const TRAILERS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                            2\r\nok\r\n0\r\nConnection: x\r\nX-Forwarded-For: 1.1.1.1\r\n\
                            X-Sum: 7\r\n\r\n";
    let (endpoint, _received) = backend(TRAILERS).await;
    let address = serve(endpoint, plain()).await;
    let get = Request::get("http://a/").body(http_body_util::Either::Left(Empty::new())).unwrap();
    let response = http2(address).await.send_request(get).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    let trailers: Vec<_> = body.trailers().unwrap().keys().collect();
    assert_eq!(trailers, ["x-sum"]);
}

#[tokio::test]
async fn without_tunnels_an_upgrade_is_served_plainly() {
    let (endpoint, mut received) = backend(OK).await;
    let address = serve(endpoint, plain()).await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(send(address, request).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(lines(&received.recv().await.unwrap()), ["get / http/1.1", "host: a"]);
    // An endpoint that switches all the same can't be followed.
    let (endpoint, _received) = backend(SWITCHED).await;
    let address = serve(endpoint, plain()).await;
    let response = send(address, request).await;
    assert!(response.starts_with("HTTP/1.1 502 "), "{response}");
}
