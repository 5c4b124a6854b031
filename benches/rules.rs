//! The cost of routing a request by rules, beside a scan of the same conditions and axum's
//! `Router`.
//! `cargo bench --bench rules --features rules`
//!
//! Each result is a whole call: the request is taken apart, a rule found, counted and noted in the
//! extensions, and a service called that does nothing. The request matches the last rule, which is
//! the worst case of a scan. The scan is the same rules behind a double negation, which the index
//! cannot see through.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    task::{Context, Poll},
};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use futures::executor::block_on;
use http::{Request, Response};
use tower::Service;
use tower_lb::{
    http::ClientConnection,
    rules::{Condition, Rule, Rules},
};

#[derive(Clone, Copy)]
struct Noop;

impl<B> Service<Request<B>> for Noop {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<B>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

fn request<B>(rule: u32, body: B) -> Request<B> {
    let connection = ClientConnection::new(([10, 0, 0, 1], 9).into(), ([10, 0, 0, 2], 443).into());
    Request::get(format!("/service-{rule}/users/17/orders?page=2"))
        .header("host", format!("tenant-{rule}.example.com"))
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101")
        .header("accept", "application/json")
        .header("cookie", "session=0123456789abcdef0123456789abcdef")
        .extension(connection)
        .body(body)
        .unwrap()
}

fn rules(count: u32, condition: impl Fn(u32) -> Condition) -> Rules<Noop> {
    let rules = (1..=count).map(|rule| Rule::new(rule, Noop).when(condition(rule)));
    Rules::builder(Noop).rules(rules).build().unwrap()
}

fn by_path(rule: u32) -> Condition {
    Condition::path([format!("/service-{rule}/*")])
}

fn by_host_and_path(rule: u32) -> Condition {
    let hosts = [format!("tenant-{rule}.example.com"), format!("*.tenant-{rule}.example.com")];
    Condition::host(hosts).and(Condition::path(["/service-*/users/*", "/static/*"]))
}

fn router(count: u32) -> axum::Router {
    let route = |rule| format!("/service-{rule}/{{*rest}}");
    let add = |router: axum::Router, rule| router.route_service(&route(rule), axum_noop());
    (1..=count).fold(axum::Router::new(), add)
}

fn axum_noop()
-> impl Service<Request<axum::body::Body>, Response = Response<String>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
+ 'static {
    tower::service_fn(|_| ready(Ok(Response::new(String::new()))))
}

fn call<S, B>(service: &mut S, request: Request<B>)
where
    S: Service<Request<B>, Error: std::fmt::Debug>,
{
    black_box(block_on(service.call(request)).unwrap());
}

fn routing(criterion: &mut Criterion) {
    for (name, condition) in
        [("path", by_path as fn(u32) -> Condition), ("host and path", by_host_and_path)]
    {
        let mut group = criterion.benchmark_group(format!("a rule by {name}"));
        // A call without rules shows what is not the cost of finding one.
        for count in [0, 1, 10, 100, 1000] {
            let request = request(count, ());
            let mut measure = |what: &str, mut rules: Rules<Noop>| {
                group.bench_function(BenchmarkId::new(what, count), |bencher| {
                    let clone = || request.clone();
                    bencher.iter_batched(clone, |one| call(&mut rules, one), BatchSize::SmallInput);
                });
            };
            measure("index", rules(count, condition));
            measure("scan", rules(count, |rule| !!condition(rule)));
        }
    }
    let mut group = criterion.benchmark_group("a rule by path");
    for count in [1, 10, 100, 1000] {
        let mut router = router(count);
        group.bench_function(BenchmarkId::new("axum", count), |bencher| {
            let request = || request(count, axum::body::Body::empty());
            bencher.iter_batched(request, |one| call(&mut router, one), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, routing);
criterion_main!(benches);
