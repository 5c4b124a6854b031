//! What it costs to be ready to try again, when nothing fails: layers around a balancer over ten
//! endpoints that do nothing.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use tower::{
    Layer, Service,
    retry::{
        Policy, RetryLayer as TowerRetryLayer,
        budget::{Budget as _, TpsBudget},
    },
};
use tower_lb::{
    balance::Builder,
    discover,
    hedge::Delay,
    http::{HttpBalancer, ResilienceLayer, resilient},
    strategy::P2c,
};
use tower_lb_benches::{addresses::addresses, ours};
use tower_resilience_retry::{RetryBudgetBuilder, RetryLayer as ResilienceRetryLayer};

#[derive(Clone, Copy)]
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

/// tower's own `Retry` with its budget, retrying what ours does: failures by status, and errors.
#[derive(Clone)]
struct ByStatus(Arc<TpsBudget>, u32);

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for ByStatus {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Ready<()>> {
        match result {
            Ok(response) if !response.status().is_server_error() => {
                self.0.deposit();
                None
            }
            _ if self.1 == 0 || !self.0.withdraw() => None,
            _ => {
                self.1 -= 1;
                Some(ready(()))
            }
        }
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        request.method().is_idempotent().then(|| request.clone())
    }
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/status").body(Full::default()).expect("valid")
}

fn get_with_headers() -> Request<Full<Bytes>> {
    let headers = ["accept", "user-agent", "x-request-id", "traceparent", "accept-encoding"];
    let request = headers
        .iter()
        .fold(Request::get("/status"), |request, name| request.header(*name, "something or other"));
    request.body(Full::default()).expect("valid")
}

fn post() -> Request<Full<Bytes>> {
    Request::post("/orders").body(Full::from("{}")).expect("valid")
}

/// Returns the time for `n` requests, without the time to create them.
fn time<S>(service: &mut S, requests: u64, make: fn() -> Request<Full<Bytes>>) -> Duration
where
    S: Service<Request<Full<Bytes>>>,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let mut total = Duration::ZERO;
    let mut left = requests;
    while left > 0 {
        let batch: Vec<_> = (0..left.min(1000)).map(|_| make()).collect();
        left -= batch.len() as u64;
        let start = Instant::now();
        for request in batch {
            assert!(service.poll_ready(cx).is_ready());
            let response = pin!(service.call(request)).poll(cx);
            assert!(black_box(response).is_ready());
        }
        total += start.elapsed();
    }
    total
}

fn balancer() -> HttpBalancer<Noop, P2c> {
    let endpoints = addresses(10).map(|address| (address, Noop.into()));
    let (balancer, mut driver) = Builder::http()
        .build(P2c::default(), discover::list(endpoints))
        .expect("no contradictions");
    assert!(ours::poll(&mut driver).is_ready());
    balancer
}

fn resilience(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let _guard = runtime.enter();
    for (name, make) in
        [("GET", get as fn() -> _), ("GET with five headers", get_with_headers), ("POST", post)]
    {
        let mut group = c.benchmark_group(format!("resilience, {name}"));
        let mut alone = balancer();
        group.bench_function("balancer alone", |b| b.iter_custom(|n| time(&mut alone, n, make)));
        let policy = ByStatus(Arc::default(), 2);
        let mut tower = TowerRetryLayer::new(policy).layer(balancer());
        group.bench_function("tower Retry, TpsBudget", |b| {
            b.iter_custom(|n| time(&mut tower, n, make));
        });
        let budget = RetryBudgetBuilder::new().token_bucket().build().expect("no contradictions");
        let peer = ResilienceRetryLayer::builder()
            .max_attempts(3)
            .retry_on_response(|response: &Response<_>| response.status().is_server_error())
            .budget(budget)
            .build();
        let mut peer = peer.layer(balancer());
        group.bench_function("tower-resilience Retry, token bucket", |b| {
            b.iter_custom(|n| time(&mut peer, n, make));
        });
        let mut ours = resilient::<_, Full<Bytes>>(balancer());
        group.bench_function("tower-lb resilient", |b| b.iter_custom(|n| time(&mut ours, n, make)));
        let hedged = ResilienceLayer::builder().hedge(Delay::quantile(0.99)).build();
        let mut hedged = hedged.expect("no contradictions").layer(balancer());
        group.bench_function("tower-lb resilient, hedged at p99", |b| {
            b.iter_custom(|n| time(&mut hedged, n, make));
        });
    }
}

criterion_group!(benches, resilience);
criterion_main!(benches);
