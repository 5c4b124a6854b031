//! The whole stack around a balancer of HTTP requests.
use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    balance::Builder,
    discover,
    endpoint::Endpoint,
    hedge::Delay,
    http::{
        GrpcStatus, ReplayBody, ReplayLayer, ResilienceLayer, RetryOn, UntilBodyEnd, resilient,
    },
    retry::{Budget, RetryLayer, RetrySafety},
    strategy::{P2c, PickFirst, RoundRobin},
    timeout::OverallTimeoutLayer,
};

const MS: Duration = Duration::from_millis(1);

type Body = ReplayBody<Full<Bytes>>;
type Server = BoxCloneSyncService<Request<Body>, Response<Full<Bytes>>, Infallible>;

/// Notes the bodies that it gets, and answers with its name and the headers given.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<(&'static str, Bytes)>>>);

impl Log {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn server(
        &self,
        name: &'static str,
        status: u16,
        header: (&'static str, &'static str),
    ) -> (&'static str, Endpoint<Server>) {
        let log = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let log = log.clone();
            async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                log.0.lock().unwrap().push((name, body));
                let response = Response::builder().status(status).header(header.0, header.1);
                Ok(response.body(Full::from(name)).unwrap())
            }
        });
        (name, Endpoint::new(BoxCloneSyncService::new(service)))
    }

    fn take(&self) -> Vec<(&'static str, Bytes)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn put(body: &'static str) -> Request<Full<Bytes>> {
    Request::put("/").body(Full::from(body)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_response_that_says_so_is_retried_elsewhere_with_the_same_body() {
    let log = Log::new();
    let servers = discover::list([
        log.server("full", 503, ("x", "y")),
        log.server("broken", 502, ("x", "y")),
        log.server("good", 200, ("x", "y")),
    ]);
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), servers).unwrap();
    let service = resilient(balancer);
    for _ in 0..9 {
        let response = service.clone().oneshot(put("hello")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let attempts = log.take();
        assert!(attempts.iter().all(|(_, body)| body == "hello"));
        let names: std::collections::BTreeSet<_> = attempts.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), attempts.len(), "none twice");
        // A `POST` is not repeated, whatever it got.
        let post = Request::post("/").body(Full::from("pay")).unwrap();
        service.clone().oneshot(post).await.unwrap();
        assert_eq!(log.take().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_failure_without_a_body_is_retried_if_the_method_may_be() {
    let log = Log::new();
    let servers = || {
        discover::list([
            log.server("unavailable", 200, ("grpc-status", "14")),
            log.server("good", 200, ("grpc-status", "0")),
        ])
    };
    let tracker = UntilBodyEnd::new(GrpcStatus);
    let balancer = || Builder::http().track(tracker).spawn(RoundRobin::starting_at(0), servers());
    let reads = |head: &http::request::Parts| {
        head.uri.path().ends_with("/Get").then_some(RetrySafety::Idempotent)
    };
    let layer = ResilienceLayer::builder()
        .retry_on(RetryOn::grpc())
        .replay(ReplayLayer::new().retry_safety(reads))
        .build()
        .unwrap();
    for (path, attempts) in [("/shop.Items/Get", 2), ("/shop.Items/Buy", 1)] {
        let service = layer.layer(balancer().unwrap());
        tokio::task::yield_now().await;
        let request = Request::post(path).body(Full::from("message")).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(log.take().len(), attempts, "{path}");
        let expected = if attempts == 2 { "0" } else { "14" };
        assert_eq!(response.headers()["grpc-status"], expected);
    }

    let pushback = log.server("pushback", 200, ("grpc-retry-pushback-ms", "-1"));
    let balancer = Builder::http().spawn(RoundRobin::new(), discover::list([pushback])).unwrap();
    layer.layer(balancer).oneshot(put("x")).await.unwrap();
    assert_eq!(log.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_up_to_a_second() {
    for (seconds, waited, attempts) in [("0", 0, 2), ("1", 1000, 2), ("2", 0, 1), ("60", 0, 1)] {
        let log = Log::new();
        let servers = discover::list([log.server("busy", 503, ("retry-after", seconds))]);
        let balancer = Builder::http().spawn(P2c::default(), servers).unwrap();
        let layer = ResilienceLayer::builder().attempts(2).build().unwrap();
        let began = Instant::now();
        let response = layer.layer(balancer).oneshot(put("x")).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "busy");
        // The backoff is 25 ms at the most.
        let millis = began.elapsed().as_millis();
        assert!((waited..=waited.max(26)).contains(&millis), "{seconds}: {millis} ms");
        assert_eq!(log.take().len(), attempts, "the only endpoint is not asked before its time");
    }
}

/// Of two endpoints that ask for a longer wait than the retry may take, each is asked once.
#[tokio::test(start_paused = true)]
async fn endpoints_that_ask_for_a_pause_are_not_asked_again() {
    let log = Log::new();
    let busy = |name| log.server(name, 503, ("retry-after", "10"));
    let servers = discover::list([busy("a"), busy("b")]);
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), servers).unwrap();
    let layer = ResilienceLayer::builder().attempts(5).build().unwrap();
    let response = layer.layer(balancer).oneshot(put("x")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "10", "the caller learns when to come back");
    let names: Vec<_> = log.take().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b"]);
}

/// A failure is the endpoint's as soon as its head is there, though the body is not read while the
/// request waits for its next attempt.
#[tokio::test(start_paused = true)]
async fn failures_count_while_the_retry_waits() {
    let log = Log::new();
    let servers = discover::list([log.server("busy", 503, ("retry-after", "1"))]);
    let balancer = Builder::http().max_outstanding(1).spawn(P2c::default(), servers).unwrap();
    let service = resilient(balancer.clone());
    let request = tokio::spawn(service.oneshot(put("x")));
    sleep(100 * MS).await;
    let status = balancer.status();
    assert_eq!((status.endpoints[0].outcomes.overload, status.endpoints[0].outstanding), (1, 0));
    request.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn hedges_and_retries_share_a_budget_that_each_request_fills_once() {
    let answers = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&answers);
    let slow = service_fn(move |_: Request<Body>| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(100 * MS).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }
    });
    let servers = discover::list(["a", "b"].map(|name| (name, Endpoint::new(slow.clone()))));
    let balancer = Builder::http().spawn(P2c::default(), servers).unwrap();
    let budget = Budget::builder().share(0.5).floor(0.0).build().unwrap();
    let layer = ResilienceLayer::builder().hedge(Delay::fixed(10 * MS)).budget(budget.clone());
    let service = layer.build().unwrap().layer(balancer);
    for _ in 0..100 {
        service.clone().oneshot(put("x")).await.unwrap();
    }
    assert_eq!(answers.load(Ordering::SeqCst), 150);
    assert_eq!(budget.spent(), 50);
}

/// The answer that is not good enough holds the room that the retry needs.
#[tokio::test(start_paused = true)]
async fn an_answer_in_hand_is_returned_rather_than_waited_upon() {
    let log = Log::new();
    let servers = discover::list([log.server("only", 404, ("x", "y"))]);
    let balancer = Builder::http().max_outstanding(1).spawn(P2c::default(), servers).unwrap();
    let on = RetryOn::http().statuses([StatusCode::NOT_FOUND]);
    let layer = ResilienceLayer::builder().retry_on(on).build().unwrap();
    let began = Instant::now();
    let response = layer.layer(balancer).oneshot(put("x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

/// Of a hedged pair that has failed, the retry goes to neither.
#[tokio::test(start_paused = true)]
async fn a_retry_knows_where_the_hedges_went() {
    let servers = ["a", "b", "c"].map(|name| {
        let service = service_fn(move |_: Request<Body>| async move {
            sleep(if name == "a" { 60 * MS } else { 20 * MS }).await;
            let status = if name == "c" { 200 } else { 503 };
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
        });
        (name, Endpoint::new(service))
    });
    let balancer = Builder::http().spawn(PickFirst::new(), discover::list(servers)).unwrap();
    let layer = ResilienceLayer::builder().hedge(Delay::fixed(10 * MS)).attempts(2).build();
    let response = layer.unwrap().layer(balancer.clone()).oneshot(put("x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let outcomes = balancer.status().endpoints.into_iter().map(|endpoint| endpoint.outcomes);
    assert!(outcomes.into_iter().all(|outcomes| outcomes.total() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_may_ask_to_be_left_alone_for_ever() {
    let log = Log::new();
    let servers = [log.server("busy", 503, ("retry-after", "18446744073709551615"))];
    let balancer = Builder::http().spawn(P2c::default(), discover::list(servers)).unwrap();
    let retry = RetryLayer::builder(RetryOn::http()).max_pushback(Duration::MAX);
    let retry = retry.overall(Duration::from_secs(1)).build().unwrap();
    let service = ReplayLayer::new().layer(retry.layer(balancer));
    let service = OverallTimeoutLayer::new(Duration::from_secs(2)).layer(service);
    let response = service.oneshot(put("x")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn contradictions_are_rejected() {
    let layer = ResilienceLayer::builder();
    let late = layer.clone().hedge(Delay::fixed(Duration::from_secs(40)));
    assert_eq!(late.build().unwrap_err().field(), "hedge");
    assert!(layer.clone().attempts(0).build().is_err());
    assert!(layer.overall(Duration::ZERO).build().is_err());
}

/// Answers at once.
#[derive(Clone)]
struct Noop;

impl<B> Service<Request<B>> for Noop {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// Without a body and headers, which would be copied, nothing is allocated. A request that may never
/// be sent again is not even copied.
#[test]
fn a_request_that_succeeds_at_once_allocates_only_what_is_copied() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let servers = discover::list((0..10).map(|n| (n, Endpoint::new(Noop))));
        let balancer = Builder::http().spawn(P2c::default(), servers).unwrap();
        tokio::task::yield_now().await;
        let mut service = resilient::<_, Full<Bytes>>(balancer);
        let mut send = |request: Request<Full<Bytes>>| {
            let mut cx = Context::from_waker(Waker::noop());
            let ready = Service::<Request<Full<Bytes>>>::poll_ready(&mut service, &mut cx);
            assert!(ready.is_ready());
            assert!(pin!(service.call(request)).poll(&mut cx).is_ready());
        };
        let get = || Request::get("/").body(Full::default()).unwrap();
        (0..100).for_each(|_| send(get()));
        let requests: Vec<_> = (0..1000).map(|_| get()).collect();
        let cost = measure(|| requests.into_iter().for_each(&mut send));
        assert_eq!(cost.count_total, 0, "GET");

        let with = |retry_safety: RetrySafety| {
            let mut request = put("hello");
            request.headers_mut().insert("accept", "*/*".parse().unwrap());
            request.extensions_mut().insert(retry_safety);
            request
        };
        let mut allocations = |retry_safety| {
            let request = with(retry_safety);
            measure(|| send(request)).count_total
        };
        assert_eq!(allocations(RetrySafety::Never), 0);
        println!(
            "a PUT with a body and a header: {} allocations",
            allocations(RetrySafety::Idempotent)
        );
        assert!(allocations(RetrySafety::Idempotent) <= 8);
    });
}

/// An HTTP/2 server may refuse a stream before it has looked at it: the request goes elsewhere, whatever
/// it does.
#[tokio::test]
async fn a_stream_that_was_refused_is_sent_elsewhere() {
    use tokio::net::TcpListener;
    use tower_lb::{discover::DiscoverExt, http::Pool};

    async fn serve(refuses: bool, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.method(), "POST");
                    if refuses {
                        respond.send_reset(h2::Reason::REFUSED_STREAM);
                    } else {
                        respond.send_response(Response::new(()), true).unwrap();
                    }
                }
            });
        }
    }

    let mut addresses = Vec::new();
    for refuses in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(format!("http://{}", listener.local_addr().unwrap()));
        tokio::spawn(serve(refuses, listener));
    }
    let origins = addresses.iter().map(|address| address.parse().unwrap());
    let endpoints = discover::addresses(origins).connect(Pool::new().http2().connector());
    let balancer = Builder::http().spawn(RoundRobin::starting_at(0), endpoints).unwrap();
    let service = resilient(balancer.clone());
    for _ in 0..4 {
        let post = Request::post("/").body(Full::<Bytes>::from("pay")).unwrap();
        let response = service.clone().oneshot(post).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let outcomes = balancer.status().endpoints.into_iter().map(|endpoint| endpoint.outcomes);
    let refused: u64 = outcomes.map(|outcomes| outcomes.overload).sum();
    assert!(refused > 0, "the one that refuses was asked");
}
