//! A future that is polled again after its output panics with a sentence: it neither waits
//! indefinitely nor makes an answer up.

use std::{
    future::{Future, Ready, ready},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service, service_fn};
use tower_lb::{
    Balancer, BoxError, discover,
    endpoint::Endpoint,
    failover::{FailoverLayer, FailoverOn},
    hedge::{Delay, HedgeLayer},
    limit::{Concurrency, ConcurrencyLimitLayer, QueueOrder, RateLimitLayer},
    outcome::{LoadReport, ResultOnly},
    retry::{Backoff, RetryFailures, RetryLayer},
    strategy::AwaitProbesLayer,
    strategy::{Candidate, Freshest, P2c, Probed},
    timeout::{FirstByteTimeoutLayer, OverallTimeoutLayer},
    traffic::CanaryLayer,
};
use tower_lb_test_support::request::Query;

const MS: Duration = Duration::from_millis(1);

type Answer = Ready<Result<(), io::Error>>;

fn good(_: Query) -> Answer {
    ready(Ok(()))
}

fn bad(_: Query) -> Answer {
    ready(Err(io::Error::other("bad")))
}

/// Never ready after its first request.
#[derive(Clone, Debug)]
struct Once {
    first: bool,
}

impl Service<Query> for Once {
    type Response = ();
    type Error = io::Error;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if self.first { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, query: Query) -> Answer {
        bad(query)
    }
}

/// Polls the future until it is over, and once more.
async fn panics<F: Future>(name: &str, future: F) {
    let mut future = pin!(future);
    future.as_mut().await;
    let again = catch_unwind(AssertUnwindSafe(|| {
        let _ = future.poll(&mut Context::from_waker(Waker::noop()));
    }));
    let panic = again.expect_err(name);
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(text.contains("after completion"), "{name}: {text}");
    // Those that only pass on what another future says leave it to that one.
    let passes_on = text.contains("`Ready`");
    assert!(passes_on || text.contains(name), "{name}: {text}");
}

#[tokio::test(start_paused = true)]
async fn every_future_panics_with_its_name_or_leaves_it_to_the_one_inside() {
    let query = Query::idempotent;
    let once = || Once { first: true };

    let retry = || RetryLayer::builder(RetryFailures::default()).overall(10_000 * MS);
    let retries = retry().build().unwrap();
    panics("RetryFuture", retries.layer(service_fn(good)).call(query())).await;
    panics("RetryFuture", retries.layer(service_fn(bad)).call(query())).await;
    let backoff = Backoff::decorrelated(100 * MS, 100 * MS);
    let short = retry().backoff(backoff).overall(101 * MS).build().unwrap();
    panics("RetryFuture", short.layer(service_fn(bad)).call(query())).await;

    let failover =
        FailoverLayer::builder(service_fn(good), RetryFailures::default()).build().unwrap();
    panics("FailoverFuture", failover.layer(service_fn(good)).call(query())).await;
    panics("FailoverFuture", failover.layer(service_fn(bad)).call(query())).await;
    let unready = FailoverLayer::builder(Once { first: false }, RetryFailures::default());
    let unready = unready.on(FailoverOn::Failure).build().unwrap();
    panics("FailoverFuture", unready.layer(service_fn(bad)).call(query())).await;

    let hedge =
        HedgeLayer::builder(RetryFailures::default(), Delay::fixed(10 * MS)).build().unwrap();
    panics("HedgeFuture", hedge.layer(service_fn(good)).call(query())).await;
    panics("HedgeFuture", hedge.layer(service_fn(bad)).call(query())).await;
    let unsafe_query = Query::new(tower_lb::retry::RetrySafety::Never);
    panics("HedgeFuture", hedge.layer(service_fn(good)).call(unsafe_query)).await;

    let limit = |queue| {
        let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).queue(queue);
        limit.order(QueueOrder::AdaptiveLifo)
    };
    let layer = limit(1).max_wait(10 * MS).build().unwrap();
    panics("ConcurrencyLimitFuture", layer.layer(once()).call(query())).await;
    // Rejected at once, after a wait, and because another came.
    let none = limit(0).build().unwrap();
    let held = none.layer(once()).call(query());
    panics("ConcurrencyLimitFuture", none.layer(once()).call(query())).await;
    drop(held);
    let held = layer.layer(once()).call(query());
    panics("ConcurrencyLimitFuture", layer.layer(once()).call(query())).await;
    let outdated = layer.layer(once()).call(query());
    let newer = layer.layer(once()).call(query());
    panics("ConcurrencyLimitFuture", outdated).await;
    drop((held, newer));

    let rate = RateLimitLayer::new(1.0, 1).unwrap();
    panics("RateLimitFuture", rate.layer(once()).call(query())).await;
    panics("RateLimitFuture", rate.layer(once()).call(query())).await;
    let rate = rate.max_wait(10_000 * MS);
    panics("RateLimitFuture", rate.layer(once()).call(query())).await;

    let first_byte = FirstByteTimeoutLayer::new(10 * MS);
    panics("TimeoutFuture", first_byte.layer(once()).call(query())).await;
    panics("TimeoutFuture", OverallTimeoutLayer::new(10 * MS).layer(once()).call(query())).await;
    let canary = CanaryLayer::new(once(), 0.0).unwrap();
    panics("CanaryFuture", canary.layer(once()).call(query())).await;
    let throttle = tower_lb::limit::AdaptiveThrottleLayer::new(ResultOnly, 2.0).unwrap();
    panics("ThrottleFuture", throttle.layer(once()).call(query())).await;
    let endpoints = discover::list([("a", Endpoint::new(once()))]);
    let mut balancer = Balancer::spawn(P2c::default(), endpoints);
    tokio::task::yield_now().await;
    panics("ResponseFuture", Service::<Query>::call(&mut balancer, query())).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_for_probes_too() {
    let probe = |_: &Candidate| std::future::pending::<Result<LoadReport, BoxError>>();
    let strategy = Probed::new(probe, Freshest::default());
    let layer = AwaitProbesLayer::new(strategy.probes()).max_wait(10 * MS);
    panics("AwaitProbesFuture", layer.layer(Once { first: true }).call(Query::idempotent())).await;
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn those_of_http_too() {
    use http_body_util::Empty;
    use tower_lb::http::{
        AttemptTimeoutLayer, GatewayLayer, IdleBodyTimeoutLayer, ReportLoadLayer,
    };

    let answer = |_: http::Request<()>| {
        let body = Empty::<bytes::Bytes>::new();
        ready(Ok::<_, io::Error>(http::Response::new(body)))
    };
    let request = || http::Request::new(());
    let reports = ReportLoadLayer::new().layer(service_fn(answer)).call(request());
    panics("ReportLoadFuture", reports).await;
    let attempt = AttemptTimeoutLayer::new(MS).layer(service_fn(answer)).call(request());
    panics("AttemptTimeoutFuture", attempt).await;
    let idle = IdleBodyTimeoutLayer::new(MS).layer(service_fn(answer)).call(request());
    panics("IdleBodyFuture", idle).await;
    panics("GatewayFuture", GatewayLayer.layer(service_fn(answer)).call(request())).await;
}

#[cfg(feature = "lambda")]
#[tokio::test(start_paused = true)]
async fn those_of_lambda_too() {
    use tower_lb::lambda::{
        Function, FunctionName, Invocation, InvokeError, Invoked, PayloadLimits,
    };

    let invoke = |_: &FunctionName, _: Invocation| {
        ready(Err::<Invoked, _>(InvokeError::Unreachable("broken".into())))
    };
    let mut function = Function::new(invoke, "name".parse().unwrap());
    panics("FunctionFuture", function.call(Invocation::new("{}"))).await;
    let mut small = function.with_limits(PayloadLimits::new().synchronous(1));
    panics("FunctionFuture", small.call(Invocation::new("{}"))).await;
}

#[cfg(feature = "sigv4")]
#[tokio::test(start_paused = true)]
async fn one_that_signs_too() {
    use aws_credential_types::Credentials;
    use bytes::Bytes;
    use http_body_util::Full;
    use tower_lb::http::sigv4::SignLayer;

    let credentials = Credentials::new("key", "secret", None, None, "test");
    let layer = SignLayer::new(credentials).region("eu-west-1");
    let answer = |_: http::Request<Full<Bytes>>| ready(Ok::<_, io::Error>(()));
    let request = |body: &'static str| {
        let request = http::Request::get("https://name.lambda-url.eu-west-1.on.aws/");
        request.body(Full::from(body)).unwrap()
    };
    panics("SignFuture", layer.layer(service_fn(answer)).call(request(""))).await;
    // It fails before it is sent.
    let small = layer.max_body(1);
    let failed = small.layer(service_fn(answer)).call(request("too long"));
    panics("SignFuture", failed).await;
}
