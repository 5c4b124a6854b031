//! Times longer than a clock can tell: rejected when something is built, or as good as for ever; never a
//! panic.

use std::{convert::Infallible, future::poll_fn, io, time::Duration};

use futures::{FutureExt, StreamExt};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer,
    discover::{self, DiscoverExt, Fetched, Schedule},
    endpoint::{Endpoint, Locality},
    failover::FailoverLayer,
    health::{
        CircuitBreaker, Draining, HealthCheck, HealthExt, OutlierDetection, OverloadBackoff,
        SlowStart,
    },
    hedge::{Delay, HedgeLayer},
    limit::{Concurrency, ConcurrencyLimitLayer, RateLimitLayer},
    load::PeakEwma,
    outcome::{Attempts, Carry, LoadReport},
    retry::{Backoff, RetryFailures, RetryLayer, RetrySafety, RetryableRequest},
    strategy::AwaitProbesLayer,
    strategy::{
        BuildContext, Candidate, Candidates, P2c, Probed, Random, Strategy, WeightedRoundRobin,
        ZonalShift,
    },
    timeout::{ConnectTimeoutLayer, FirstByteTimeoutLayer, OverallTimeoutLayer},
};

const EVER: Duration = Duration::MAX;

#[derive(Clone, Default)]
struct Query(Option<Attempts>);

impl Carry for Query {
    fn attempts(&self) -> Option<&Attempts> {
        self.0.as_ref()
    }

    fn carry(&mut self, attempts: Attempts) {
        self.0 = Some(attempts);
    }
}

impl RetryableRequest for Query {
    fn retry_safety(&self) -> RetrySafety {
        RetrySafety::Idempotent
    }

    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

/// Fails after a second.
fn failing() -> Failing {
    Failing::new(service_fn(|_: Query| async {
        sleep(Duration::from_secs(1)).await;
        Err(io::Error::other("as told"))
    }))
}

type Failing = BoxCloneSyncService<Query, (), io::Error>;

/// A day of a request through `service`.
async fn a_day<S: Service<Query>>(service: S) {
    let day = Duration::from_secs(24 * 3600);
    let _ = tokio::time::timeout(day, service.oneshot(Query::default())).await;
}

#[tokio::test(start_paused = true)]
async fn layers_take_them() {
    a_day(ConnectTimeoutLayer::new(EVER).layer(failing())).await;
    a_day(FirstByteTimeoutLayer::new(EVER).layer(failing())).await;
    a_day(OverallTimeoutLayer::new(EVER).layer(failing())).await;
    let hedge = HedgeLayer::builder(RetryFailures::default(), Delay::fixed(EVER)).build().unwrap();
    a_day(OverallTimeoutLayer::new(Duration::from_secs(9)).layer(hedge.layer(failing()))).await;
    for backoff in [Backoff::full(EVER, EVER), Backoff::decorrelated(Duration::ZERO, EVER)] {
        let retry = RetryLayer::builder(RetryFailures::default()).backoff(backoff);
        let retry = retry.max_pushback(EVER).overall(EVER).build().unwrap();
        a_day(retry.layer(failing())).await;
    }
    let failover = FailoverLayer::builder(failing(), RetryFailures::default()).sticky(1, EVER);
    let failover = failover.build().unwrap().layer(failing());
    a_day(failover.clone()).await;
    a_day(failover).await;
    let rate = RateLimitLayer::new(1e-6, 1).unwrap().max_wait(EVER).layer(failing());
    a_day(rate.clone()).await;
    a_day(rate).await;
    let limit = ConcurrencyLimitLayer::builder(Concurrency::fixed(1)).queue(1).max_wait(EVER);
    let limit = limit.build().unwrap().layer(failing());
    tokio::join!(a_day(limit.clone()), a_day(limit));
}

#[tokio::test(start_paused = true)]
async fn balancers_and_strategies_take_them() {
    let endpoint = Endpoint::new(failing()).with_locality(Locality::new("r", "a"));
    let builder = || Balancer::builder().fail_fast(EVER).max_outstanding(1).max_wait(EVER);
    let list = || discover::list([("a", endpoint.clone())]);
    let probe = |_: &Candidate| std::future::ready(Ok::<_, Infallible>(LoadReport::new()));
    let balancer = builder().spawn(Probed::new(probe, Random).timeout(EVER), list()).unwrap();
    tokio::join!(a_day(balancer.clone()), a_day(balancer));
    let probe = |_: &Candidate| std::future::pending::<Result<LoadReport, Infallible>>();
    let strategy = Probed::new(probe, Random).timeout(EVER);
    let waits = AwaitProbesLayer::new(strategy.probes()).max_age(EVER).max_wait(EVER);
    a_day(waits.layer(builder().spawn(strategy, list()).unwrap())).await;
    let rule = WeightedRoundRobin::new().blackout(EVER).expiry(EVER).unwrap().period(EVER).unwrap();
    a_day(builder().spawn(rule, list()).unwrap()).await;
    let shift = ZonalShift::new(P2c::new(PeakEwma::new().with_decay(EVER)));
    shift.handle().shift_away("a");
    shift.handle().restore("a", EVER);
    a_day(builder().spawn(shift, list()).unwrap()).await;
    // Polled by hand, as a driver does.
    let mut rule = WeightedRoundRobin::new().period(EVER).unwrap();
    let endpoint = Endpoint::new(());
    let (candidates, mut events) =
        (Candidates::for_strategy(&rule, [("a", &endpoint)]), BuildContext::new());
    let _picker = rule.build(&candidates, &mut events);
    assert!(poll_fn(|cx| events.poll_rebuild(cx)).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn sources_take_them() {
    let fetch = || async { Ok(Fetched::new([("a", Endpoint::new(1_u32))]).valid_for(EVER)) };
    let schedule = Schedule::new().interval(EVER).floor(EVER).ceiling(EVER).backoff(EVER, EVER);
    let source = discover::refresh("a", schedule.timeout(EVER), fetch).unwrap();
    let status = source.status();
    let mut source = source.debounce(EVER, EVER);
    let next = tokio::time::timeout(Duration::from_secs(9000), source.next());
    assert!(next.await.is_ok_and(|update| update.is_some()), "an hour is the longest debounce");
    status.ask_again();
    assert!(source.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn health_takes_them_or_says_no() {
    let list = || discover::list([("a", Endpoint::new(failing()))]);
    async fn well<S: Clone>(_: S) -> Result<(), Infallible> {
        Ok(())
    }
    let check = HealthCheck::new(well).interval(EVER).changing_interval(EVER).idle_interval(EVER);
    if let Ok(checked) = list().health_checked(check.timeout(EVER)) {
        a_day(Balancer::spawn(Random, checked)).await;
    }
    let outliers = OutlierDetection::new().interval(EVER).ejection_time(EVER, EVER);
    if let Ok(detected) = list().outlier_detected(outliers) {
        a_day(Balancer::spawn(Random, detected)).await;
    }
    let breaker = CircuitBreaker::new().consecutive_failures(1).open_time(EVER, EVER);
    if let Ok(broken) = list().circuit_broken(breaker.failure_share(50.0, 1, EVER)) {
        let balancer = Balancer::spawn(Random, broken);
        a_day(balancer.clone()).await;
        a_day(balancer).await;
    }
    if let Ok(overload_backoff) =
        list().overload_backoff(OverloadBackoff::new().interval(EVER).max_pause(EVER))
    {
        a_day(Balancer::spawn(Random, overload_backoff)).await;
    }
    if let Ok(starting) = list().slow_start(SlowStart::over(EVER)) {
        a_day(Balancer::spawn(Random, starting)).await;
    }
    let (handle, stream) = discover::channel::<&str, Failing>();
    if let Ok(drained) = stream.drained(Draining::within(EVER)) {
        handle.insert("a", Endpoint::new(failing())).unwrap();
        let balancer = Balancer::spawn(Random, drained);
        let request = tokio::spawn(a_day(balancer.clone()));
        sleep(Duration::from_millis(500)).await;
        handle.remove("a").unwrap();
        request.await.unwrap();
    }
}
