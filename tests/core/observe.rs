//! Names, events, durations and the registry.

use std::{convert::Infallible, time::Duration};

use tokio::time::{advance, sleep};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer, BoxError, Endpoint, Error,
    balance::Change,
    discover,
    endpoint::{Health, Locality},
    health::{HealthExt, SlowStart},
    observe::Registry,
    strategy::P2c,
};

type Backend = BoxCloneSyncService<u64, u64, BoxError>;

/// Takes as many milliseconds as the request says; fails if it is 0.
fn backend() -> Backend {
    BoxCloneSyncService::new(service_fn(|millis: u64| async move {
        sleep(Duration::from_millis(millis)).await;
        if millis == 0 { Err(BoxError::from("refused")) } else { Ok(millis) }
    }))
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_of_the_balancer_is_in_its_errors_and_status() {
    let (handle, targets) = discover::channel::<&str, Backend>();
    let builder = Balancer::builder().name("users\n\"x\"").fail_fast(Duration::from_secs(1));
    let mut balancer = builder.spawn(P2c::default(), targets).unwrap();
    let error = balancer.ready().await.unwrap().call(1).await.unwrap_err();
    assert_eq!(error.to_string(), r#"balancer users\n"x": no endpoints discovered"#);
    assert_eq!(error.balancer(), Some("users\n\"x\""));

    handle.insert("a", backend()).unwrap();
    settle().await;
    let error = balancer.ready().await.unwrap().call(0).await.unwrap_err();
    assert!(matches!(error, Error::Endpoint { .. }) && error.balancer().is_some(), "{error}");
    assert_eq!(balancer.status().name.as_deref(), balancer.name());
    assert!(balancer.status().to_string().starts_with("balancer users\\n"));
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_changed_with_cause_and_duration() {
    let (handle, targets) = discover::channel::<&str, Backend>();
    let balancer = Balancer::builder().spawn(P2c::default(), targets).unwrap();
    handle.insert("a", backend()).unwrap();
    settle().await;
    advance(Duration::from_secs(7)).await;
    let down = Endpoint::new(backend()).with_health(Health::unhealthy("connection refused"));
    handle.insert("a", down).unwrap();
    settle().await;
    handle.remove("a").unwrap();
    settle().await;
    let changes: Vec<_> = balancer.events().into_iter().map(|event| event.change).collect();
    let a = || "a".into();
    assert_eq!(
        changes,
        [
            Change::EndpointAdded { endpoint: a() },
            Change::Health {
                endpoint: a(),
                from: Health::Healthy,
                to: Health::unhealthy("connection refused"),
                lasted: Duration::from_secs(7),
            },
            Change::EndpointRemoved { endpoint: a() },
        ]
    );
    assert_eq!(
        changes[1].to_string(),
        "a is unhealthy: connection refused, after healthy for 7.0s"
    );
}

#[tokio::test(start_paused = true)]
async fn durations_are_those_of_the_attempts_that_the_caller_awaited() {
    let endpoints = discover::list([("a", Endpoint::new(backend()))]);
    let builder = Balancer::builder().measure_durations(true);
    let balancer = builder.spawn(P2c::default(), endpoints).unwrap();
    settle().await;
    for _ in 0..99 {
        balancer.clone().oneshot(10).await.unwrap();
    }
    balancer.clone().oneshot(1000).await.unwrap();
    // Neither a failure without a response nor a cancelled attempt is a response.
    balancer.clone().oneshot(0).await.unwrap_err();
    tokio::time::timeout(Duration::from_millis(1), balancer.clone().oneshot(500))
        .await
        .unwrap_err();

    let status = balancer.status();
    let [endpoint] = &status.endpoints[..] else { panic!("{status}") };
    let (first_byte, end) = (endpoint.first_byte.as_ref().unwrap(), endpoint.end.as_ref().unwrap());
    assert_eq!((first_byte.count(), end.count(), endpoint.picks()), (100, 101, 102));
    let near = |quantile, expected: f64| {
        let found = first_byte.quantile(quantile).unwrap().as_secs_f64();
        assert!((found / expected - 1.0).abs() < 0.13, "{quantile}: {found}");
    };
    near(0.5, 0.01);
    near(1.0, 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_status_is_sorted_and_has_the_weights_of_the_user() {
    let endpoint = |tier, zone, weight| {
        Endpoint::new(backend())
            .with_tier(tier)
            .with_locality(Locality::new("r", zone))
            .with_weight(weight)
    };
    let endpoints = discover::list([
        ("d", endpoint(1, "a", 3)),
        ("c", endpoint(0, "b", 1)),
        ("b", endpoint(0, "a", 5)),
        ("a", endpoint(0, "b", 2)),
    ]);
    let endpoints = endpoints.slow_start(SlowStart::over(Duration::from_secs(60))).unwrap();
    let balancer = Balancer::spawn(P2c::default(), endpoints);
    settle().await;
    let status = balancer.status();
    let seen = status.endpoints.iter().map(|one| (&*one.name, one.attributes.configured_weight()));
    assert_eq!(seen.collect::<Vec<_>>(), [("b", 5), ("a", 2), ("c", 1), ("d", 3)]);
    assert_ne!(
        status.endpoints[0].attributes.weight(),
        5,
        "the present weight is that of the ramp"
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_counted_and_measured() {
    let endpoints = discover::list([("a", Endpoint::new(backend()))]);
    let builder = Balancer::builder().max_outstanding(1);
    let balancer = builder.spawn(P2c::default(), endpoints).unwrap();
    settle().await;
    let first = tokio::spawn(balancer.clone().oneshot(2000));
    settle().await;
    let mut ready = balancer.clone();
    // Ready when it was asked, full when it is called.
    let second = tokio::spawn(async move { ready.call(1).await });
    settle().await;
    assert_eq!(balancer.status().waiting, 1);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    let status = balancer.status();
    assert_eq!((status.waiting, status.waits.count()), (0, 1));
    let waited = status.waits.quantile(0.5).unwrap().as_secs_f64();
    assert!((waited / 2.0 - 1.0).abs() < 0.13, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_forgets_balancers_that_are_dropped() {
    let registry = Registry::new();
    let balancer = |name: &'static str| {
        let endpoints = discover::list([(
            "a",
            Endpoint::new(service_fn(|_: ()| async { Ok::<_, Infallible>(()) })),
        )]);
        Balancer::builder().name(name).spawn(P2c::default(), endpoints).unwrap()
    };
    let (kept, dropped) = (balancer("kept"), balancer("dropped"));
    registry.add(&kept);
    registry.add(&dropped);
    let names = || -> Vec<_> {
        registry
            .report()
            .balancers
            .into_iter()
            .map(|one| one.status.name.unwrap().to_string())
            .collect()
    };
    assert_eq!(names(), ["kept", "dropped"]);
    drop(dropped);
    assert_eq!(names(), ["kept"]);
}

/// One of each component, all named; the values of their metrics.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn every_component_has_metrics_and_the_catalog_lists_them_all() {
    use std::collections::BTreeSet;

    use tower_lb::{
        discover::{DiscoverExt, Fetched, Schedule},
        failover::FailoverLayer,
        health::{CircuitBreaker, HealthCheck, OutlierDetection, OverloadBackoff},
        hedge::{Delay, HedgeLayer},
        limit::{AdaptiveThrottleLayer, Concurrency, ConcurrencyLimitLayer, RateLimitLayer},
        observe::metrics::{CATALOG, Exporter},
        outcome::ResultOnly,
        retry::{Budget, RetryFailures, RetryLayer},
    };

    let registry = Registry::new();
    let source = discover::refresh("dns", Schedule::default(), || async {
        Ok(Fetched::new([("a", Endpoint::new(1))]))
    });
    let source = source.unwrap();
    registry.add(&source.status());
    let source =
        source.health_checked(HealthCheck::new(|_| async { Ok::<_, BoxError>(()) })).unwrap();
    registry.add(&source.figures());
    let source = source.outlier_detected(OutlierDetection::new()).unwrap();
    registry.add(&source.figures());
    let source = source.circuit_broken(CircuitBreaker::new()).unwrap();
    registry.add(&source.figures());
    let source = source.overload_backoff(OverloadBackoff::new()).unwrap();
    registry.add(&source.figures());
    let builder = Balancer::builder().name("users").measure_durations(true);
    let balancer = builder.spawn(P2c::default(), source.connect(|_| backend())).unwrap();
    registry.add(&balancer);
    let budget = Budget::builder().name("shared").build().unwrap();
    let retry =
        RetryLayer::builder(RetryFailures::default()).budget(budget.clone()).build().unwrap();
    let hedge = HedgeLayer::builder(RetryFailures::default(), Delay::fixed(Duration::from_secs(1)));
    let hedge = hedge.name("reads").budget(budget.clone()).build().unwrap();
    let failover = FailoverLayer::builder((), RetryFailures::default()).build().unwrap();
    let concurrency =
        ConcurrencyLimitLayer::builder(Concurrency::fixed(7)).name("uploads").build().unwrap();
    let rate = RateLimitLayer::new(3.5, 1).unwrap().name("api");
    let throttle = AdaptiveThrottleLayer::new(ResultOnly, 2.0).unwrap();
    registry.add(&budget);
    registry.add(&retry);
    registry.add(&hedge);
    registry.add(&failover);
    registry.add(&concurrency);
    registry.add(&rate);
    registry.add(&throttle);
    settle().await;
    balancer.clone().oneshot(7).await.unwrap();

    let text = Exporter::new(&registry).render();
    // Pools, Lambda, listeners, rules and what is below HTTP are tested at their edges.
    let edges = [
        "lambda_",
        "connect",
        "client_",
        "accept_",
        "rule_",
        "responses_",
        "tcp_",
        "udp_",
        "geneve_",
    ];
    let is_core = |name: &str| !edges.iter().any(|edge| name.contains(&format!("_lb_{edge}")));
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let expected: BTreeSet<_> =
        CATALOG.iter().map(|metric| metric.name).filter(|name| is_core(name)).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), expected);
    for line in [
        r#"tower_lb_requests_total{balancer="users",endpoint="a",zone="",tier="0",outcome="success"} 1"#,
        r#"tower_lb_first_byte_seconds_bucket{balancer="users",endpoint="a",zone="",tier="0",le="0.01"} 1"#,
        r#"tower_lb_endpoints{balancer="users",state="healthy"} 1"#,
        r#"tower_lb_limit_max{limit="uploads",kind="concurrency"} 7"#,
        r#"tower_lb_limit_max{limit="api",kind="rate"} 3.5"#,
        r#"tower_lb_hedge_delay_seconds{hedge="reads"} 1"#,
        r#"tower_lb_source_polls_total{source="dns",result="success"} 1"#,
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }

    drop((retry, hedge, failover, concurrency, rate, throttle));
    let report = registry.report();
    assert_eq!((report.retries.len(), report.limits.len(), report.balancers.len()), (0, 0, 1));
}

/// Two components with one name share a series, which is their sum and never falls.
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn components_with_one_name_are_added_up() {
    use tower_lb::observe::metrics::Exporter;

    let registry = Registry::new();
    let balancer = || {
        let builder = Balancer::builder().name("twice");
        builder.spawn(P2c::default(), discover::list([("a", Endpoint::new(backend()))])).unwrap()
    };
    let (one, other) = (balancer(), balancer());
    registry.add(&one);
    registry.add(&other);
    settle().await;
    let exporter = Exporter::new(&registry);
    let picks = || {
        let text = exporter.render();
        let line = text.lines().find(|line| line.starts_with("tower_lb_picks_total")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    for n in 1..=5 {
        one.clone().oneshot(1).await.unwrap();
        assert_eq!(picks(), 3 * n - 2);
        other.clone().oneshot(1).await.unwrap();
        other.clone().oneshot(1).await.unwrap();
        assert_eq!(picks(), 3 * n);
    }
}
