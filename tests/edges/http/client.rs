//! The HTTP edge, over real sockets where there is a protocol to speak.
use std::{
    collections::BTreeSet,
    convert::Infallible,
    error::Error as _,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body as AxumBody, routing::get};
use bytes::Bytes;
use futures::{FutureExt, SinkExt, channel::mpsc};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn, timeout::TimeoutLayer};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    endpoint::{Endpoint, EndpointStats, OutcomeCounts},
    http::{
        ClientError, ClientErrorKind, Gateway, GrpcStatus, HostHeader, HttpStatus, Origin, Pool,
        ReportLoadLayer, SetOrigin, UntilBodyEnd, load_probe,
    },
    limit::RateLimitLayer,
    load::{Gauge, Load, Now, PeakEwma, Score},
    outcome::{LoadReport, Meter, Sample},
    strategy::{Candidate, Candidates, Freshest, P2c, Probed, RoundRobin},
};

type Body = UnsyncBoxBody<Bytes, BoxError>;

fn empty() -> Empty<Bytes> {
    Empty::new()
}

fn request() -> Request<Empty<Bytes>> {
    Request::new(empty())
}

/// Serves HTTP/1.1 and HTTP/2 on any free port, counting connections, until it is dropped.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&connections), Arc::clone(&open));
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (service, open) =
                    (TowerToHyperService::new(app.clone()), Arc::clone(&counts.1));
                counts.0.fetch_add(1, Ordering::SeqCst);
                open.fetch_add(1, Ordering::SeqCst);
                tasks.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, connections, open, task }
    }

    fn origin(&self) -> Origin {
        self.address.into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An endpoint whose responses are given by a function.
fn responding<F>(
    respond: F,
) -> impl Service<Request<Empty<Bytes>>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
where
    F: Fn() -> Response<Body> + Clone + Send + Sync + 'static,
{
    service_fn(move |_| std::future::ready(Ok(respond())))
}

fn status(status: u16) -> Response<Body> {
    let body = empty().map_err(Into::into).boxed_unsync();
    Response::builder().status(status).body(body).unwrap()
}

/// The outcomes after one request to an endpoint that answers as told, read to the end.
async fn outcomes<C>(tracker: UntilBodyEnd<C>, respond: fn() -> Response<Body>) -> OutcomeCounts
where
    C: tower_lb::http::ClassifyHttp + Clone + Send + Sync + 'static,
{
    let endpoints = discover::list([("a", Endpoint::new(responding(respond)))]);
    let mut balancer = Builder::http().track(tracker).spawn(RoundRobin::new(), endpoints).unwrap();
    let response = balancer.ready().await.unwrap().call(request()).await.unwrap();
    let _ = response.into_body().collect().await;
    let endpoint = balancer.status().endpoints.remove(0);
    assert_eq!(endpoint.outstanding, 0);
    endpoint.outcomes
}

#[tokio::test]
async fn http_statuses_are_judged() {
    let judge = |respond| outcomes(UntilBodyEnd::new(HttpStatus), respond);
    let one = |set: fn(&mut OutcomeCounts)| {
        let mut counts = OutcomeCounts::default();
        set(&mut counts);
        counts
    };
    assert_eq!(judge(|| status(200)).await, one(|c| c.success = 1));
    assert_eq!(judge(|| status(404)).await, one(|c| c.success = 1));
    assert_eq!(judge(|| status(500)).await, one(|c| c.application = 1));
    assert_eq!(judge(|| status(429)).await, one(|c| c.overload = 1));
    assert_eq!(judge(|| status(503)).await, one(|c| c.overload = 1));
    assert_eq!(judge(|| status(504)).await, one(|c| c.timeout = 1));
}

fn grpc(head: Option<&'static str>, trailer: Option<&'static str>) -> Response<Body> {
    let trailers = trailer.map(|status| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        Ok(Frame::trailers(trailers))
    });
    let message = Ok(Frame::data(Bytes::from_static(b"message")));
    let frames = futures::stream::iter([message].into_iter().chain(trailers));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    if let Some(status) = head {
        response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
    }
    response
}

#[tokio::test]
async fn grpc_statuses_are_judged_in_head_and_trailers() {
    let judge = |respond| outcomes(UntilBodyEnd::new(GrpcStatus), respond);
    assert_eq!(judge(|| grpc(None, Some("0"))).await.success, 1);
    assert_eq!(
        judge(|| grpc(None, Some("5"))).await.success,
        1,
        "NOT_FOUND is no fault of the endpoint"
    );
    assert_eq!(judge(|| grpc(None, Some("13"))).await.application, 1);
    assert_eq!(judge(|| grpc(None, Some("14"))).await.application, 1);
    assert_eq!(judge(|| grpc(Some("8"), None)).await.overload, 1);
    assert_eq!(judge(|| grpc(None, None)).await.application, 1, "a message and no status");
    assert_eq!(judge(|| status(200)).await.application, 1, "neither");
    assert_eq!(judge(|| grpc(Some("0"), None)).await.success, 1);
    assert_eq!(judge(|| grpc(None, Some("4"))).await.timeout, 1);
    assert_eq!(judge(|| grpc(None, Some("nonsense"))).await.application, 1);
    assert_eq!(judge(|| status(502)).await.application, 1);
}

#[tokio::test]
async fn an_attempt_lasts_until_the_end_of_the_body() {
    let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(4);
    let body = Arc::new(std::sync::Mutex::new(Some(StreamBody::new(receiver).boxed_unsync())));
    let endpoint = responding(move || Response::new(body.lock().unwrap().take().unwrap()));
    let endpoints = discover::list([("a", Endpoint::new(endpoint))]);
    let mut balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
    let response = balancer.ready().await.unwrap().call(request()).await.unwrap();
    let look = || balancer.status().endpoints.remove(0);
    assert_eq!((look().outstanding, look().outcomes.total()), (1, 0));

    let mut sender = sender;
    sender.send(Ok(Frame::data(Bytes::from_static(b"one")))).await.unwrap();
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    assert_eq!(look().outstanding, 1);

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("3"));
    sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers);
    assert_eq!((look().outstanding, look().outcomes.success), (0, 1), "over with the trailers");
}

#[tokio::test]
async fn a_body_that_fails_or_is_dropped_says_so() {
    let failing = || {
        let error: Result<Frame<Bytes>, BoxError> = Err(io::Error::other("reset").into());
        let frames = [Ok(Frame::data(Bytes::from_static(b"some"))), error];
        Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
    };
    assert_eq!(outcomes(UntilBodyEnd::new(HttpStatus), failing).await.transport, 1);

    for (code, expected) in [(200, "cancelled"), (500, "application")] {
        let endless = responding(move || {
            let body = StreamBody::new(futures::stream::pending()).boxed_unsync();
            Response::builder().status(code).body(body).unwrap()
        });
        let endpoints = discover::list([("a", Endpoint::new(endless))]);
        let mut balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
        drop(balancer.ready().await.unwrap().call(request()).await.unwrap());
        let counts = balancer.status().endpoints[0].outcomes;
        let named = [("cancelled", counts.cancelled), ("application", counts.application)];
        assert_eq!(named.iter().find(|(_, count)| *count == 1).unwrap().0, expected);
    }
}

#[tokio::test]
async fn pooled_clients_speak_both_versions_and_reuse_connections() {
    for (pool, version) in [(Pool::new(), "HTTP/1.1"), (Pool::new().http2(), "HTTP/2.0")] {
        let app =
            || Router::new().route("/who", get(async |version: Version| format!("{version:?}")));
        let servers = [Server::start(app()).await, Server::start(app()).await];
        let origins = servers.iter().map(Server::origin);
        let endpoints = discover::addresses(origins).connect(pool.connector());
        let balancer = Builder::http().spawn(RoundRobin::new(), endpoints).unwrap();
        for _ in 0..20 {
            let request = Request::get("/who").body(empty()).unwrap();
            let response = balancer.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), version);
        }
        for (server, endpoint) in servers.iter().zip(balancer.status().endpoints) {
            assert_eq!(server.connections.load(Ordering::SeqCst), 1);
            assert_eq!(endpoint.outcomes.success, 10);
        }
    }
}

#[tokio::test]
async fn connections_of_a_removed_endpoint_are_closed_while_all_is_idle() {
    let server = Server::start(Router::new().route("/", get(async || "x"))).await;
    let (handle, stream) = discover::channel();
    let balancer =
        Builder::http().spawn(P2c::default(), stream.connect(Pool::new().connector())).unwrap();
    handle.insert("a", server.origin()).unwrap();
    balancer.clone().oneshot(request()).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(server.open.load(Ordering::SeqCst), 1);
    handle.remove("a").unwrap();
    for _ in 0..500 {
        if server.open.load(Ordering::SeqCst) == 0 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the connection is still open");
}

#[tokio::test]
async fn a_dead_endpoint_is_named_and_its_error_kept() {
    let server = Server::start(Router::new()).await;
    let origin = server.origin();
    drop(server);
    tokio::task::yield_now().await;
    let endpoints = discover::list([("dead", origin.into())]).connect(Pool::new().connector());
    let balancer = Builder::http().spawn(P2c::default(), endpoints).unwrap();
    let error = balancer.clone().oneshot(request()).await.unwrap_err();
    assert_eq!(error.endpoint(), Some("dead"));
    let source = error.source().unwrap();
    let source = source.downcast_ref::<ClientError>().unwrap();
    assert_eq!(source.kind(), ClientErrorKind::Connect);
    assert_eq!(balancer.status().endpoints[0].outcomes.transport, 1);
}

#[tokio::test]
async fn the_host_header_arrives_as_configured() {
    let app = Router::new()
        .route("/", get(async |headers: HeaderMap| headers["host"].to_str().unwrap().to_owned()));
    let server = Server::start(app).await;
    let authority = server.address.to_string();
    let fixed = HostHeader::Fixed(HeaderValue::from_static("fixed.example"));
    for (host, sent, expected) in [
        (HostHeader::Keep, None, authority.as_str()),
        (HostHeader::Keep, Some("shop.example"), "shop.example"),
        (HostHeader::Endpoint, Some("shop.example"), authority.as_str()),
        (fixed, Some("shop.example"), "fixed.example"),
    ] {
        let pool = Pool::new().host_header(host);
        let endpoints = discover::addresses([server.origin()]).connect(pool.connector());
        let balancer = Builder::http().spawn(P2c::default(), endpoints).unwrap();
        let mut request = request();
        if let Some(host) = sent {
            request.headers_mut().insert("host", HeaderValue::from_static(host));
        }
        let body = balancer.oneshot(request).await.unwrap().into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), expected);
    }
}

#[tokio::test]
async fn axum_routers_are_endpoints_and_the_gateway_is_a_route() {
    let routers =
        ["a", "b"].map(|name| (name, Router::new().route("/", get(async move || name)).into()));
    let balancer =
        Builder::http().spawn(RoundRobin::starting_at(0), discover::list(routers)).unwrap();
    let gateway = Router::new().fallback_service(Gateway::new(balancer));
    let server = Server::start(gateway).await;
    let client = Pool::new().client(server.origin());
    let mut answers = Vec::new();
    for _ in 0..4 {
        let response = client.clone().oneshot(request()).await.unwrap();
        answers.push(response.into_body().collect().await.unwrap().to_bytes());
    }
    assert_eq!(answers, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn the_gateway_turns_errors_into_responses() {
    let answer = async |gateway: Response<tower_lb::http::GatewayBody<_>>| {
        let status = gateway.status().as_u16();
        let body: AxumBody = AxumBody::new(gateway.into_body());
        let text = body.collect().await.unwrap().to_bytes();
        assert!(!text.is_empty() && !text.windows(9).any(|part| part == b"127.0.0.1"));
        status
    };
    // Nobody there, ever.
    let none = discover::addresses::<Origin>([]).connect(Pool::new().connector());
    let balancer = Builder::http().spawn(P2c::default(), none).unwrap();
    let response = Gateway::new(balancer).oneshot(request()).await.unwrap();
    assert_eq!(answer(response).await, 503);

    // Nobody there for now.
    let (_handle, stream) = discover::channel::<&str, Origin>();
    let endpoints = stream.connect(Pool::new().connector());
    let impatient =
        Builder::http().fail_fast(Duration::ZERO).spawn(P2c::default(), endpoints).unwrap();
    let response = Gateway::new(impatient).oneshot(request()).await.unwrap();
    assert_eq!(answer(response).await, 503);

    // More than the caller may send.
    let ok = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(empty()))
    });
    let rate = RateLimitLayer::new(0.1, 1).unwrap().layer(ok);
    let gateway = Gateway::new(rate);
    gateway.clone().oneshot(request()).await.unwrap();
    let response = gateway.oneshot(request()).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "10");
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);

    // Connection refused.
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Origin::from(listener.local_addr().unwrap())
    };
    let endpoints = discover::addresses([dead]).connect(Pool::new().connector());
    let balancer = Builder::http().spawn(P2c::default(), endpoints).unwrap();
    let response = Gateway::new(balancer).oneshot(request()).await.unwrap();
    assert_eq!(answer(response).await, 502);

    // Too slow.
    let server = Server::start(Router::new().route(
        "/",
        get(async || {
            sleep(Duration::from_secs(60)).await;
        }),
    ))
    .await;
    let pool = Pool::new();
    let timeout = TimeoutLayer::new(Duration::from_millis(50));
    let endpoints = discover::addresses([server.origin()])
        .connect(move |origin| timeout.layer(pool.client(origin.clone())));
    let balancer = Builder::http().spawn(P2c::default(), endpoints).unwrap();
    let response = Gateway::new(balancer.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer(response).await, 504);
    assert_eq!(balancer.status().endpoints[0].outcomes.timeout, 1);
}

#[tokio::test]
async fn reqwest_clients_are_endpoints() {
    let servers = [
        Server::start(Router::new().route("/x", get(async || "one"))).await,
        Server::start(Router::new().route("/x", get(async || "two"))).await,
    ];
    let client = reqwest::Client::new();
    let endpoints = servers.iter().map(|server| {
        let (client, port) = (client.clone(), server.address.port());
        let to_endpoint = client.map_request(move |mut request: reqwest::Request| {
            request.url_mut().set_port(Some(port)).unwrap();
            request
        });
        (port, Endpoint::new(to_endpoint))
    });
    let endpoints = discover::list(endpoints);
    let balancer = tower_lb::Balancer::spawn(RoundRobin::starting_at(0), endpoints);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = client.get("http://127.0.0.1/x").build().unwrap();
        answers.push(balancer.clone().oneshot(request).await.unwrap().text().await.unwrap());
    }
    assert_eq!(answers, ["one", "two"]);
}

#[tokio::test]
async fn tonic_channels_are_endpoints() {
    let app = Router::new().route(
        "/pkg.Service/Method",
        axum::routing::post(async || grpc(None, Some("14")).map(AxumBody::new)),
    );
    let server = Server::start(app).await;
    let channel = tonic::transport::Endpoint::from_shared(server.origin().to_string()).unwrap();
    let endpoints = discover::list([("a", Endpoint::new(channel.connect_lazy()))]);
    let tracker = UntilBodyEnd::new(GrpcStatus);
    let balancer =
        Builder::http().track(tracker).spawn(P2c::new(PeakEwma::new()), endpoints).unwrap();
    let request = Request::post("/pkg.Service/Method")
        .body(tonic::body::Body::new(Full::new(Bytes::new())))
        .unwrap();
    let response = balancer.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "14");
    let status = balancer.status().endpoints.remove(0);
    assert_eq!(status.outcomes.application, 1);
    assert!(status.latency.is_some());
}

#[test]
fn set_origin_wraps_any_http_service() {
    let echo = service_fn(|request: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(request.uri().to_string()))
    });
    let service = SetOrigin::new(echo, "https://a:1".parse().unwrap());
    let uri = service.oneshot(Request::get("/p?q").body(()).unwrap()).now_or_never().unwrap();
    assert_eq!(uri.unwrap(), "https://a:1/p?q");
}

/// Keeps the last report of requests in flight.
#[derive(Debug, Default)]
struct LastReport(std::sync::Mutex<Option<f64>>);

impl Meter for LastReport {
    fn record(&self, _vitals: &EndpointStats, _sample: &Sample<'_>) {}

    fn report(&self, _vitals: &EndpointStats, report: &LoadReport, _now: Instant) {
        *self.0.lock().unwrap() = report.requests_in_flight();
    }

    fn needs_reports(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_server_tells_how_many_requests_it_has_and_the_balancer_hears() {
    let load = ReportLoadLayer::new();
    let app = Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/hang", get(std::future::pending::<&str>))
        .layer(load.clone());
    let server = Server::start(app).await;
    let meter = Arc::new(LastReport::default());
    let client = Pool::new().client(server.origin());
    let endpoint = Endpoint::new(client).with_meter(Arc::<LastReport>::clone(&meter));
    let balancer =
        Builder::http().spawn(P2c::default(), discover::list([("a", endpoint)])).unwrap();
    let get =
        |path: &'static str| balancer.clone().oneshot(Request::get(path).body(empty()).unwrap());
    for hanging in 0..3_usize {
        let response = get("/").await.unwrap();
        let told = response.headers()["endpoint-in-flight"].to_str().unwrap();
        let (in_flight, latency) = told.split_once(";latency-ms=").expect("both");
        assert_eq!(in_flight, hanging.to_string());
        assert!(latency.parse::<f64>().unwrap() > 0.0, "{told}");
        response.into_body().collect().await.unwrap();
        assert_eq!(*meter.0.lock().unwrap(), Some(hanging as f64));
        tokio::spawn(get("/hang"));
        while load.in_flight() <= hanging {
            tokio::task::yield_now().await;
        }
    }
}

/// Compares endpoints by the requests that they reported last. Latencies, which depend on the load of
/// the machine, do not count.
struct ReportedInFlight;

impl Load for ReportedInFlight {
    fn score(&self, gauge: &Gauge<'_>, _now: &mut Now) -> Score {
        let reported = gauge.meter::<LastReport>().and_then(|last| *last.0.lock().unwrap());
        Score { cost: 1.0, backlog: reported.unwrap_or(0.0) }
    }

    fn meter(&self) -> Option<Arc<dyn Meter>> {
        Some(Arc::new(LastReport::default()))
    }
}

/// Servers with two requests hanging at each but the last, which answer probes outside of the layer.
#[tokio::test]
async fn probes_over_http_find_the_idle_server() {
    let mut servers = Vec::new();
    for _ in 0..4 {
        let load = ReportLoadLayer::new().capacity(4);
        let told = load.clone();
        let app = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/hang", get(std::future::pending::<&str>))
            .layer(load.clone())
            .route("/load", get(move || async move { [told.header()] }));
        servers.push((Server::start(app).await, load));
    }
    for (server, load) in &servers[..3] {
        for _ in 0..2 {
            let client = Pool::new().client(server.origin());
            tokio::spawn(client.oneshot(Request::get("/hang").body(empty()).unwrap()));
        }
        while load.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
    }
    let asked = Arc::new(Mutex::new(BTreeSet::new()));
    let (counted, ask) = (Arc::clone(&asked), Pool::new().load_probe("/load").unwrap());
    let probe = move |endpoint: &Candidate| {
        let (answer, name) = (ask(endpoint), endpoint.name().to_owned());
        let counted = Arc::clone(&counted);
        async move {
            let report = answer.await?;
            assert_eq!(report.free_capacity(), Some(4.0 - report.requests_in_flight().unwrap()));
            counted.lock().unwrap().insert(name);
            Ok::<_, BoxError>(report)
        }
    };
    // Connections are opened beforehand: a slow first request counts against its server.
    let (pool, mut endpoints) = (Pool::new(), Vec::new());
    for (server, _) in &servers {
        let client = pool.client(server.origin());
        let first = Request::get("/").body(empty()).unwrap();
        client.clone().oneshot(first).await.unwrap().into_body().collect().await.unwrap();
        endpoints.push((server.origin(), client.into()));
    }
    let strategy = Probed::new(probe, Freshest::new(ReportedInFlight));
    let balancer = Builder::http().spawn(strategy, discover::list(endpoints)).unwrap();
    let get = || balancer.clone().oneshot(Request::get("/").body(empty()).unwrap());
    // Probes go to random servers: until the idle one was asked, nothing tells it from the others.
    while asked.lock().unwrap().len() < 4 {
        get().await.unwrap().into_body().collect().await.unwrap();
    }
    let served = || -> Vec<u64> {
        let status = balancer.status();
        servers
            .iter()
            .map(|(server, _)| {
                let name = server.origin().to_string();
                let one = status.endpoints.iter().find(|one| *one.name == *name);
                one.unwrap().outcomes.success
            })
            .collect()
    };
    let before = served();
    for _ in 0..40 {
        get().await.unwrap().into_body().collect().await.unwrap();
    }
    let after = served();
    let got: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(got, [0, 0, 0, 40]);
}

#[tokio::test]
async fn a_probe_fails_where_nobody_can_be_asked_and_where_no_load_is_told() {
    let endpoints = ["nobody at all", "http://a"].map(|name| (name, Endpoint::new(())));
    let named = endpoints.iter().map(|(name, endpoint)| (*name, endpoint));
    let candidates = Candidates::for_strategy(&P2c::default(), named);
    let client = service_fn(|request: Request<String>| async move {
        assert_eq!(request.uri(), "http://a/load?now");
        Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
    });
    let probe = load_probe(client, "/load?now").unwrap();
    let answers = candidates.iter().map(probe).collect::<Vec<_>>();
    let errors = futures::future::join_all(answers).await;
    let errors = errors.into_iter().map(|answer| answer.unwrap_err().to_string());
    let errors: Vec<_> = errors.collect();
    assert!(errors[0].contains("nobody at all"), "{errors:?}");
    assert_eq!(errors[1], "the response to the load probe has no load report");
}
