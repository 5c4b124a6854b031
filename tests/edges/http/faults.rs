//! Whose fault an error is, and what may be repeated: with real clients over real sockets.
use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::any};
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tower_lb::{
    balance::{Builder, Status},
    discover::{self, DiscoverExt},
    endpoint::{Endpoint, Health},
    health::{CircuitBreaker, HealthExt, OutlierDetection},
    http::{Gateway, Origin, Pool, ReplayBody, resilient},
    outcome::{CallerError, Outcome},
    retry::{RetryDecision, RetrySafety},
    strategy::RoundRobin,
};

type Body = BoxBody<Bytes, BoxError>;

fn full(bytes: &'static str) -> Body {
    Full::from(bytes).map_err(Into::into).boxed()
}

/// A body that fails after a frame. Its error would mean something else if it came from an endpoint.
fn broken(error: impl Into<BoxError>) -> Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"begun"))), Err(error.into())];
    let frames = frames.map(|frame| async {
        sleep(Duration::from_millis(5)).await;
        frame
    });
    StreamBody::new(stream::FuturesOrdered::from_iter(frames)).boxed()
}

fn refused() -> io::Error {
    io::ErrorKind::ConnectionRefused.into()
}

/// Serves HTTP/1.1 and HTTP/2.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, app));
    address
}

async fn accept<S, B>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A backend that reads the body and answers.
fn reader(requests: &Arc<AtomicUsize>) -> Router {
    let requests = Arc::clone(requests);
    Router::new().fallback(any(async move |request: Request<axum::body::Body>| {
        requests.fetch_add(1, Ordering::SeqCst);
        match request.into_body().collect().await {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::BAD_REQUEST,
        }
    }))
}

fn pool(http2: bool) -> Pool {
    if http2 { Pool::new().http2() } else { Pool::new() }
}

fn assert_nothing_is_charged(status: &Status, what: &str) {
    for endpoint in &status.endpoints {
        assert_eq!(endpoint.outcomes.failures(), 0, "{what}: {status}");
        assert_eq!(endpoint.attributes.health(), &Health::Healthy, "{what}: {status}");
    }
}

/// Fifteen bad uploads at default settings, as the bug report had them, and of every kind.
#[tokio::test]
async fn clients_that_break_their_uploads_eject_no_endpoint() {
    for http2 in [false, true] {
        let mut origins: Vec<Origin> = Vec::new();
        for _ in 0..3 {
            origins.push(serve(reader(&Arc::default())).await.into());
        }
        let endpoints = discover::addresses(origins)
            .connect(pool(http2).connector())
            .outlier_detected(OutlierDetection::new())
            .unwrap()
            .circuit_broken(CircuitBreaker::new())
            .unwrap();
        let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Gateway::new(resilient::<_, Incoming>(balancer.clone()));
        tokio::spawn(accept(listener, service.map_request(plain)));

        let mut clients = JoinSet::new();
        for (client, method) in ["POST", "PUT"].into_iter().cycle().take(60).enumerate() {
            let (framing, rest) = [
                ("Content-Length: 100", "too short"),
                ("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
                ("Transfer-Encoding: chunked", "no number\r\n"),
            ][client % 3];
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(head.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(5)).await;
                stream.write_all(rest.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(5)).await;
                if client % 2 == 0 {
                    // Closed with a reset rather than with an end.
                    stream.set_zero_linger().unwrap();
                } else {
                    stream.shutdown().await.unwrap();
                    let _ = timeout(Duration::from_secs(1), stream.read(&mut [0; 64])).await;
                }
            });
        }
        clients.join_all().await;
        sleep(Duration::from_millis(100)).await;
        let status = balancer.status();
        assert_nothing_is_charged(&status, if http2 { "HTTP/2" } else { "HTTP/1.1" });
        let cancelled: u64 = status.endpoints.iter().map(|e| e.outcomes.cancelled).sum();
        assert!(cancelled >= 15, "{status}");
    }
}

/// What the proxy layer does, as far as this test needs it: the version belongs to a hop.
fn plain<B>(mut request: Request<B>) -> Request<B> {
    *request.version_mut() = Version::HTTP_11;
    request
}

/// The gateway's status for a body, or the outcome if the balancer alone gets it.
async fn upload(http2: bool, body: Body, fields: &[(header::HeaderName, &'static str)]) -> u16 {
    let requests = Arc::default();
    let origins = [serve(reader(&requests)).await, serve(reader(&requests)).await];
    let endpoints = discover::addresses(origins.map(Origin::from)).connect(pool(http2).connector());
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    let mut request = Request::put("/").body(body).unwrap();
    for (name, value) in fields {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let service = Gateway::new(resilient(balancer.clone()));
    let status = service.oneshot(request).await.unwrap().status().as_u16();
    assert!(requests.load(Ordering::SeqCst) <= 1, "an upload that failed is not repeated");
    assert_nothing_is_charged(&balancer.status(), "upload");
    status
}

#[tokio::test]
async fn the_gateway_answers_a_broken_upload_with_the_callers_fault() {
    // HTTP/1.1: hyper returns the cause.
    assert_eq!(upload(false, broken("broken"), &[]).await, 400);
    assert_eq!(upload(false, broken(refused()), &[]).await, 400, "whatever it looks like");
    assert_eq!(upload(false, broken(io::Error::from(io::ErrorKind::TimedOut)), &[]).await, 408);
    let long = Limited::new(full("too long"), 3).boxed();
    assert_eq!(upload(false, long, &[]).await, 413);
    let short = Request::new(StreamBody::new(stream::iter([Ok::<_, BoxError>(Frame::data(
        Bytes::from_static(b"short"),
    ))])));
    let declared = [(header::CONTENT_LENGTH, "100")];
    assert_eq!(upload(false, short.into_body().boxed(), &declared).await, 400);
    // HTTP/2: hyper resets the stream, and the cause is lost.
    assert_eq!(upload(true, broken("broken"), &[]).await, 400);
    assert_eq!(upload(true, broken(refused()), &[]).await, 400);
}

/// What hyper-util's client refuses to send.
#[tokio::test]
async fn what_the_client_refuses_is_not_charged_to_an_endpoint() {
    let address = serve(reader(&Arc::default())).await;
    let client = || legacy::Client::builder(TokioExecutor::new()).build_http::<ReplayBody<Body>>();
    let uri = format!("http://{address}/");
    let connect = Request::builder().method(Method::CONNECT).version(Version::HTTP_10).uri(&uri);
    let requests = [
        Request::get(&uri).version(Version::HTTP_3),
        Request::get(&uri).version(Version::HTTP_2),
        Request::get("/without-a-host"),
        connect,
    ];
    for request in requests {
        let endpoints =
            discover::list([("a", Endpoint::new(client())), ("b", Endpoint::new(client()))]);
        let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
        let request = request.body(full("")).unwrap();
        let what = format!("{request:?}");
        let response = Gateway::new(resilient(balancer.clone())).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{what}");
        let status = balancer.status();
        assert_nothing_is_charged(&status, &what);
        let cancelled: u64 = status.endpoints.iter().map(|e| e.outcomes.cancelled).sum();
        assert_eq!(cancelled, 1, "not tried elsewhere: {what}");
    }
}

#[tokio::test]
async fn a_request_that_hyper_did_not_write_is_unsent() {
    use hyper::client::conn::{http1, http2};
    let address = serve(reader(&Arc::default())).await;
    let socket = async || TokioIo::new(TcpStream::connect(address).await.unwrap());
    let request = || Request::post("http://a/").body(Full::<Bytes>::from("pay")).unwrap();

    let (mut sender, connection) = http1::handshake(socket().await).await.unwrap();
    drop(connection);
    assert_eq!(decide(&sender.send_request(request()).await.unwrap_err()), RetryDecision::Unsent);
    let (mut sender, connection) =
        http1::handshake::<_, Full<Bytes>>(socket().await).await.unwrap();
    drop(connection);
    assert_eq!(decide(&sender.ready().await.unwrap_err()), RetryDecision::Unsent);
    let executor = TokioExecutor::new();
    let (mut sender, connection) = http2::handshake(executor, socket().await).await.unwrap();
    drop(connection);
    assert_eq!(decide(&sender.send_request(request()).await.unwrap_err()), RetryDecision::Unsent);
}

fn decide(error: &(dyn StdError + 'static)) -> RetryDecision {
    RetryDecision::of_error(error)
}

/// What a scripted HTTP/2 server does with each request.
#[derive(Clone, Copy, Debug)]
enum Script {
    Reset(u32),
    /// With the last stream that it has processed, if it has processed this one.
    GoAway {
        processed: bool,
        code: u32,
    },
}

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Speaks HTTP/2 in raw frames, so that it can do what no library would.
async fn speak(
    mut socket: TcpStream,
    script: Script,
    requests: Arc<AtomicUsize>,
) -> io::Result<()> {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await?;
    socket.write_all(&frame(4, 0, 0, &[])).await?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4] & 1) {
            (4, 0) => socket.write_all(&frame(4, 1, 0, &[])).await?,
            (6, 0) => socket.write_all(&frame(6, 1, 0, &payload)).await?,
            // HEADERS.
            (1, _) => {
                requests.fetch_add(1, Ordering::SeqCst);
                match script {
                    Script::Reset(code) => {
                        socket.write_all(&frame(3, 0, stream, &code.to_be_bytes())).await?;
                    }
                    Script::GoAway { processed, code } => {
                        let last = if processed { stream } else { stream.saturating_sub(2) };
                        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                        socket.write_all(&frame(7, 0, 0, &payload)).await?;
                        // The client reads the frame before the end of the connection.
                        sleep(Duration::from_millis(20)).await;
                        return Ok(());
                    }
                }
            }
            _ => {}
        }
    }
}

async fn scripted(script: Script) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(speak(socket, script, Arc::clone(&counter)));
        }
    });
    (address, requests)
}

/// RFC 9113, 6.8 and 8.7. It fails if hyper uses another version of h2 than the crate, because the
/// errors could then not be recognised.
#[tokio::test]
async fn what_an_http2_server_has_not_processed_is_repeated_whatever_it_is() {
    let go_away = |processed, code| Script::GoAway { processed, code };
    let overload = Outcome::Overload { retry_after: None };
    let transport = Outcome::TransportFailure;
    let table = [
        (Script::Reset(REFUSED_STREAM), true, &overload),
        (go_away(false, NO_ERROR), true, &transport),
        (go_away(false, INTERNAL_ERROR), true, &transport),
        (go_away(false, ENHANCE_YOUR_CALM), true, &overload),
        (go_away(true, NO_ERROR), false, &transport),
        (go_away(true, ENHANCE_YOUR_CALM), false, &transport),
        (Script::Reset(NO_ERROR), false, &transport),
        (Script::Reset(PROTOCOL_ERROR), false, &transport),
        (Script::Reset(INTERNAL_ERROR), false, &transport),
        (Script::Reset(CANCEL), false, &transport),
        (Script::Reset(ENHANCE_YOUR_CALM), false, &transport),
        (Script::Reset(HTTP_1_1_REQUIRED), false, &transport),
    ];
    for (script, is_unprocessed, outcome) in table {
        for safety in [RetrySafety::IfUnsent, RetrySafety::Idempotent] {
            let (bad, asked) = scripted(script).await;
            let answered = Arc::<AtomicUsize>::default();
            let good = serve(reader(&answered)).await;
            let origins = [("a", bad), ("b", good)];
            let origins = origins.map(|(name, address)| (name, Origin::from(address).into()));
            let endpoints = discover::list(origins).connect(pool(true).connector());
            let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
            let service = resilient(balancer.clone());
            let send = async || {
                answered.store(0, Ordering::SeqCst);
                let post = Request::post("/").extension(safety).body(full("pay")).unwrap();
                service.clone().oneshot(post).await
            };
            // The first request may go to the good server.
            let mut result = send().await;
            for _ in 0..3 {
                if asked.load(Ordering::SeqCst) == 0 {
                    result = send().await;
                }
            }
            let what = format!("{script:?}, {safety:?}: {result:?}");
            assert_eq!(asked.load(Ordering::SeqCst), 1, "{what}");
            let is_repeated = is_unprocessed || safety == RetrySafety::Idempotent;
            assert_eq!(answered.load(Ordering::SeqCst), usize::from(is_repeated), "{what}");
            assert_eq!(result.is_ok(), is_repeated, "{what}");
            let mut endpoints = balancer.status().endpoints.into_iter();
            let counts = endpoints.find(|endpoint| &*endpoint.name == "a").unwrap().outcomes;
            let expected = if *outcome == overload { counts.overload } else { counts.transport };
            assert_eq!((expected, counts.total()), (1, 1), "{what}");
        }
    }
}

/// reqwest's errors have those of hyper as sources.
#[tokio::test]
async fn reqwests_errors_say_whose_fault_they_are() {
    let address = serve(reader(&Arc::default())).await;
    let client = reqwest::Client::new();
    let put = |body: Body| client.put(format!("http://{address}/")).body(reqwest::Body::wrap(body));
    let error = put(broken("broken")).send().await.unwrap_err();
    assert_eq!(
        (decide(&error), Outcome::of_error(&error)),
        (RetryDecision::Final, Outcome::Cancelled)
    );
    let (_socket, free) = crate::refusing();
    let error = client.post(format!("http://{free}/")).send().await.unwrap_err();
    assert_eq!(decide(&error), RetryDecision::Unsent);

    // An error without a source that tells must be wrapped.
    let error = client.get("ftp://a/").send().await.unwrap_err();
    assert!(error.is_builder(), "{error:?}");
    assert!(matches!(decide(&error), RetryDecision::Failed(_)));
    assert_eq!(decide(&CallerError::new(error)), RetryDecision::Final);
}

/// tonic's errors have those of hyper and h2 as sources.
#[tokio::test]
async fn tonics_errors_say_whether_the_request_was_processed() {
    let send = async |address: SocketAddr, body: Body| {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        let post = Request::post("/a.B/C")
            .body(tonic::body::Body::new(body.map_err(tonic::Status::from_error)));
        channel.connect_lazy().oneshot(post.unwrap()).await.map(drop)
    };
    let (refuses, _) = scripted(Script::Reset(REFUSED_STREAM)).await;
    let error = send(refuses, full("")).await.unwrap_err();
    let refused = RetryDecision::Refused(Outcome::Overload { retry_after: None });
    assert_eq!(decide(&error), refused, "{error:?}");
    let (resets, _) = scripted(Script::Reset(INTERNAL_ERROR)).await;
    let error = send(resets, full("")).await.unwrap_err();
    assert_eq!(decide(&error), RetryDecision::Failed(Outcome::TransportFailure), "{error:?}");
    let good = serve(reader(&Arc::default())).await;
    let error = send(good, broken("broken")).await.unwrap_err();
    assert_eq!(Outcome::of_error(&error), Outcome::Cancelled, "{error:?}");
    let (_socket, free) = crate::refusing();
    let error = send(free, full("")).await.unwrap_err();
    assert_eq!(decide(&error), RetryDecision::Unsent, "{error:?}");
}

/// A request that was sent may have been processed, so it is no fault of the caller that the task
/// of its connection is gone. hyper tells this by a text only.
#[tokio::test]
async fn the_end_of_a_runtime_is_not_the_callers_fault() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut response = {
        let _entered = runtime.enter();
        let mut client = Pool::new().client::<Body>(silent.local_addr().unwrap().into());
        client.call(Request::new(full("")))
    };
    let received = async {
        let (mut socket, _) = silent.accept().await.unwrap();
        socket.read_exact(&mut [0; 4]).await.unwrap();
        socket
    };
    let received = futures::future::select(Box::pin(received), &mut response).await;
    let futures::future::Either::Left((_socket, _)) = received else { panic!("no request") };
    runtime.shutdown_background();
    let error = timeout(Duration::from_secs(5), response).await.unwrap().unwrap_err();
    let failed = RetryDecision::Failed(Outcome::TransportFailure);
    assert_eq!(decide(&error), failed, "{error:?}");
}

/// A service that has its own reasons says so with `CallerError`.
#[tokio::test]
async fn a_service_can_blame_the_caller() {
    let invalid = service_fn(|_: Request<ReplayBody<Empty<Bytes>>>| async {
        Err::<Response<Empty<Bytes>>, BoxError>(CallerError::new("no such tenant").into())
    });
    let endpoints = discover::list([("a", Endpoint::new(invalid))]);
    let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    let service = Gateway::new(resilient(balancer.clone()));
    let response = service.oneshot(Request::new(Empty::<Bytes>::new())).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_nothing_is_charged(&balancer.status(), "CallerError");
}
