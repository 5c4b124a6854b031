//! The exporter: its text, its series over time, and the recorders of the crate `metrics`.

use std::{collections::BTreeSet, thread, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use metrics_util::{
    MetricKindMask,
    debugging::{DebugValue, DebuggingRecorder},
};
use tokio::time::{Instant, advance};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_lb::{
    Balancer, BoxError, Endpoint,
    discover::{self, Handle},
    endpoint::{Health, Locality},
    observe::{
        Registry,
        metrics::{CATALOG, EndpointSeries, Exporter, Kind},
    },
    strategy::RoundRobin,
};

type Backend = BoxCloneSyncService<u64, u64, BoxError>;
type Backends = Balancer<Backend, RoundRobin>;

/// Takes as many milliseconds as the request says; fails if it is 0.
fn backend() -> Backend {
    BoxCloneSyncService::new(service_fn(|millis: u64| async move {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if millis == 0 { Err(BoxError::from("refused")) } else { Ok(millis) }
    }))
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// A balancer whose endpoints the handle changes, and a registry with it.
fn balancer(name: &'static str) -> (Handle<String, Backend>, Backends, Registry) {
    let (handle, targets) = discover::channel();
    let builder = Balancer::builder().name(name).measure_durations(true);
    let balancer = builder.spawn(RoundRobin::default(), targets).unwrap();
    let registry = Registry::new();
    registry.add(&balancer);
    (handle, balancer, registry)
}

async fn call(balancer: &Backends, millis: u64) {
    let _ = balancer.clone().oneshot(millis).await;
}

/// Returns the values of a metric, and the labels as they are written.
fn samples<'a>(text: &'a str, metric: &str) -> Vec<(&'a str, f64)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    let sample = |line: &'a str| {
        let (labels, value) = line.rsplit_once("} ").unwrap();
        (labels, value.parse().unwrap())
    };
    lines.map(sample).collect()
}

fn sum(text: &str, metric: &str) -> f64 {
    samples(text, metric).iter().map(|(_, value)| value).sum()
}

fn value(text: &str, metric: &str, label: &str) -> Option<f64> {
    let samples = samples(text, metric);
    let found: Vec<_> = samples.iter().filter(|(labels, _)| labels.contains(label)).collect();
    assert!(found.len() <= 1, "{label} is in {found:?}");
    found.first().map(|(_, value)| *value)
}

/// Prometheus refuses a whole scrape with a series that occurs twice.
fn assert_no_series_twice(text: &str) {
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} occurs twice");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_text_is_that_of_prometheus() {
    let endpoint = Endpoint::new(backend()).with_locality(Locality::new("r", "z1"));
    let builder = Balancer::builder().name("users");
    let balancer = builder
        .spawn(RoundRobin::default(), discover::list([("a", endpoint.with_weight(3))]))
        .unwrap();
    settle().await;
    let registry = Registry::new();
    registry.add(&balancer);
    for millis in [1, 1, 0] {
        let _ = balancer.clone().oneshot(millis).await;
    }
    advance(Duration::from_millis(1498)).await;
    let exporter = Exporter::new(&registry);
    let text = exporter.render();
    assert_eq!(text, include_str!("metrics.txt"));
    assert_eq!(exporter.render(), text, "a second scrape changes nothing");
}

#[tokio::test(start_paused = true)]
async fn durations_are_cumulative_buckets() {
    let (handle, balancer, registry) = balancer("users");
    handle.insert("a".into(), backend()).unwrap();
    settle().await;
    for millis in [3, 3, 3, 3, 3, 3, 3, 3, 3, 300] {
        call(&balancer, millis).await;
    }
    let text = Exporter::new(&registry).render();
    let buckets = samples(&text, "tower_lb_first_byte_seconds_bucket");
    let counts: Vec<_> = buckets.iter().map(|(_, count)| *count as u64).collect();
    assert_eq!(counts, [0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 10, 10]);
    assert!(buckets.last().unwrap().0.ends_with("le=\"+Inf\""), "{buckets:?}");
    assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 10.0);
    let total = sum(&text, "tower_lb_first_byte_seconds_sum");
    assert!((total / 0.327 - 1.0).abs() < 0.13, "{total}");
    assert_no_series_twice(&text);
}

#[tokio::test(start_paused = true)]
async fn names_from_outside_cannot_break_the_text() {
    let (handle, balancer, registry) = balancer("\"users\"\\\n# HELP x\r\u{0}");
    let long = "é".repeat(5000);
    let names = ["\"} 1\nup{x=\"", "<script>", "a\u{1}", "a\u{2}", "other", "", long.as_str()];
    for name in names {
        handle.insert(name.into(), backend()).unwrap();
    }
    // The same as the one before in the part that is shown.
    handle.insert(format!("{long}!"), backend()).unwrap();
    settle().await;
    for _ in 0..names.len() + 1 {
        call(&balancer, 1).await;
    }
    let exporter = Exporter::new(&registry);
    for text in [exporter.render(), exporter.render()] {
        assert_no_series_twice(&text);
        assert_eq!(sum(&text, "tower_lb_requests_total"), 8.0);
        assert_eq!(sum(&text, "tower_lb_endpoint_health"), 8.0);
        let success = |name: &str| {
            let label = format!("endpoint=\"{name}\",zone=\"\",tier=\"0\",outcome=\"success\"");
            value(&text, "tower_lb_requests_total", &label)
        };
        assert_eq!(success(r#"\"} 1\nup{x=\""#), Some(1.0));
        assert_eq!(success("<script>"), Some(1.0));
        assert_eq!(success("a\u{fffd}"), Some(2.0), "two names that look the same share a series");
        assert_eq!(success(&"é".repeat(128)), Some(2.0), "names are cut");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert!(line.starts_with("tower_lb_") && !line.contains(char::is_control), "{line}");
            assert!(line.contains(r#"{balancer="\"users\"\\\n# HELP x"#), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn counters_outlive_their_endpoint_for_a_while_and_gauges_do_not() {
    let (handle, balancer, registry) = balancer("users");
    let exporter = Exporter::new(&registry).grace(Duration::from_secs(60));
    let requests = |text: &str, name: &str| {
        let label = format!("endpoint=\"{name}\",zone=\"\",tier=\"0\",outcome=\"success\"");
        value(text, "tower_lb_requests_total", &label)
    };
    handle.insert("a".into(), backend()).unwrap();
    settle().await;
    for _ in 0..5 {
        call(&balancer, 1).await;
    }
    let text = exporter.render();
    assert_eq!(requests(&text, "a"), Some(5.0));
    assert!(value(&text, "tower_lb_endpoint_weight", "endpoint=\"a\"").is_some());

    handle.remove("a".into()).unwrap();
    settle().await;
    advance(Duration::from_secs(60)).await;
    let text = exporter.render();
    assert_eq!(requests(&text, "a"), Some(5.0), "within the grace");
    assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 5.0);
    for gauge in ["endpoint_weight", "endpoint_health", "requests_in_flight"] {
        assert_eq!(samples(&text, &format!("tower_lb_{gauge}")), [], "{gauge}");
    }

    // It comes back, and counts from 0.
    handle.insert("a".into(), backend()).unwrap();
    settle().await;
    call(&balancer, 1).await;
    call(&balancer, 1).await;
    let text = exporter.render();
    assert_eq!(requests(&text, "a"), Some(7.0), "a counter never falls");
    assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 7.0);

    handle.remove("a".into()).unwrap();
    settle().await;
    let _ = exporter.render();
    advance(Duration::from_secs(61)).await;
    let text = exporter.render();
    assert_eq!(samples(&text, "tower_lb_requests_total"), []);
    assert_eq!(samples(&text, "tower_lb_first_byte_seconds_count"), []);

    drop(balancer);
    advance(Duration::from_secs(61)).await;
    assert_eq!(exporter.render(), "", "a balancer that is dropped leaves nothing");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_moves_to_another_series_is_not_counted_twice() {
    let (handle, balancer, registry) = balancer("users");
    let exporter = Exporter::new(&registry).endpoint_series(EndpointSeries::Each { max: 1 });
    handle.insert("b".into(), backend()).unwrap();
    settle().await;
    for _ in 0..10 {
        call(&balancer, 1).await;
    }
    assert_eq!(sum(&exporter.render(), "tower_lb_requests_total"), 10.0);
    // Sorted before it, so that the first one has no series of its own any more.
    handle.insert("a".into(), backend()).unwrap();
    settle().await;
    let text = exporter.render();
    let other = "endpoint=\"other\",zone=\"\",tier=\"\",outcome=\"success\"";
    assert_eq!(value(&text, "tower_lb_requests_total", other), Some(0.0));
    call(&balancer, 1).await;
    call(&balancer, 1).await;
    let text = exporter.render();
    assert_eq!(value(&text, "tower_lb_requests_total", other), Some(1.0));
    assert_eq!(sum(&text, "tower_lb_requests_total"), 12.0);
    assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 12.0);
}

#[tokio::test(start_paused = true)]
async fn balancers_of_one_name_are_added_up() {
    let (handle, balancer, registry) = balancer("users");
    let (other_handle, other, _) = self::balancer("users");
    registry.add(&other);
    handle.insert("a".into(), backend()).unwrap();
    other_handle.insert("a".into(), backend()).unwrap();
    settle().await;
    let exporter = Exporter::new(&registry);
    for _ in 0..5 {
        call(&balancer, 1).await;
    }
    call(&other, 1).await;
    for _ in 0..3 {
        let text = exporter.render();
        assert_eq!(sum(&text, "tower_lb_requests_total"), 6.0);
        assert_eq!(sum(&text, "tower_lb_endpoints"), 2.0);
        assert_no_series_twice(&text);
    }
    drop(balancer);
    settle().await;
    let text = exporter.render();
    assert_eq!(sum(&text, "tower_lb_requests_total"), 6.0, "nothing is counted again");
    assert_eq!(sum(&text, "tower_lb_endpoints"), 1.0);
}

/// 10 000 endpoints in three zones and two tiers.
async fn many() -> (Balancer<Backend, RoundRobin>, Registry) {
    let zones = ["a", "b", "c"];
    let endpoints = (0..10_000_usize).map(|n| {
        let locality = Locality::new("r", zones[n % zones.len()]);
        let endpoint = Endpoint::new(backend()).with_locality(locality);
        (format!("endpoint-{n:05}"), endpoint.with_tier(u32::from(n % 5 == 0)))
    });
    let endpoints: Vec<_> = endpoints.collect();
    let builder = Balancer::builder().name("many").measure_durations(true);
    let balancer = builder.spawn(RoundRobin::default(), discover::list(endpoints)).unwrap();
    settle().await;
    let registry = Registry::new();
    registry.add(&balancer);
    (balancer, registry)
}

#[tokio::test(start_paused = true)]
async fn the_series_of_ten_thousand_endpoints_are_bounded() {
    let (balancer, registry) = many().await;
    for _ in 0..200 {
        call(&balancer, 1).await;
    }
    // Samples of an endpoint: 6 outcomes, 4 states, 4 others, 2 histograms of 20.
    let each = 54;
    for (series, parts) in [
        (EndpointSeries::default(), 101),
        (EndpointSeries::Each { max: 0 }, 1),
        (EndpointSeries::Zones, 3),
        (EndpointSeries::Tiers, 2),
        (EndpointSeries::None, 1),
    ] {
        let exporter = Exporter::new(&registry).endpoint_series(series);
        let begin = std::time::Instant::now();
        let text = exporter.render();
        let took = begin.elapsed();
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        println!("{series:?}: {samples} samples, {} bytes, {took:?}", text.len());
        // Of the balancer: 4 states, 7 others, a histogram.
        assert_eq!(samples, parts * each + 31, "{series:?}");
        assert_no_series_twice(&text);
        assert_eq!(sum(&text, "tower_lb_requests_total"), 200.0);
        assert_eq!(sum(&text, "tower_lb_endpoint_health"), 10_000.0);
        assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 200.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_scrapes_at_once_are_served() {
    let (_balancer, registry) = many().await;
    let exporter = Exporter::new(&registry).endpoint_series(EndpointSeries::Zones);
    let begin = std::time::Instant::now();
    let texts: Vec<String> = thread::scope(|scope| {
        let scrapes: Vec<_> = (0..1000).map(|_| scope.spawn(|| exporter.render())).collect();
        scrapes.into_iter().map(|scrape| scrape.join().unwrap()).collect()
    });
    println!("1000 scrapes of 10 000 endpoints: {:?}", begin.elapsed());
    assert!(texts.iter().all(|text| sum(text, "tower_lb_endpoints") == 10_000.0));
}

#[test]
fn without_a_recorder_nothing_happens() {
    let exporter = Exporter::new(&Registry::new());
    exporter.publish();
    assert_eq!(exporter.render(), "");
}

/// Returns the values that a recorder has, as metric, labels and value.
fn recorded(recorder: &DebuggingRecorder) -> Vec<(String, String, DebugValue)> {
    let metrics = recorder.snapshotter().snapshot().into_vec().into_iter();
    let metrics = metrics.map(|(key, _, _, value)| {
        let (name, labels) = key.key().clone().into_parts();
        let labels = labels.iter().map(|label| format!("{}={}", label.key(), label.value()));
        (name.as_str().to_owned(), labels.collect::<Vec<_>>().join(","), value)
    });
    metrics.collect()
}

#[tokio::test(start_paused = true)]
async fn a_recorder_gets_the_values_also_if_it_comes_late() {
    let (handle, balancer, registry) = balancer("users");
    let exporter = Exporter::new(&registry);
    handle.insert("a".into(), backend()).unwrap();
    settle().await;
    call(&balancer, 1).await;
    // No recorder: what was counted until now is lost, which a rate does not notice.
    exporter.publish();
    let recorder = DebuggingRecorder::new();
    for millis in [0, 20, 20] {
        call(&balancer, millis).await;
    }
    metrics::with_local_recorder(&recorder, || exporter.publish());
    let of = |metric: &str, label: &str| {
        let recorded = recorded(&recorder).into_iter();
        let mut found =
            recorded.filter(|(name, labels, _)| name == metric && labels.contains(label));
        found.next().unwrap().2
    };
    let success = "balancer=users,endpoint=a,zone=,tier=0,outcome=success";
    assert_eq!(of("tower_lb_requests_total", success), DebugValue::Counter(2));
    metrics::with_local_recorder(&recorder, || exporter.publish());
    // This recorder's snapshot takes what was counted.
    assert_eq!(of("tower_lb_requests_total", success), DebugValue::Counter(0));

    metrics::with_local_recorder(&recorder, || exporter.publish());
    let all = recorded(&recorder);
    for metric in CATALOG {
        let Some((_, labels, value)) = all.iter().find(|(name, ..)| name == metric.name) else {
            continue;
        };
        let names: Vec<_> =
            labels.split(',').map(|label| label.split('=').next().unwrap()).collect();
        assert_eq!(names, metric.labels, "{}", metric.name);
        let kind = match value {
            DebugValue::Counter(_) => Kind::Counter,
            DebugValue::Gauge(_) => Kind::Gauge,
            DebugValue::Histogram(_) => Kind::Histogram,
        };
        assert_eq!(kind, metric.kind, "{}", metric.name);
    }
    metrics::with_local_recorder(&recorder, || exporter.publish());
    let gauge = |value: f64| DebugValue::Gauge(value.into());
    assert_eq!(of("tower_lb_endpoint_weight", "endpoint=a"), gauge(1.0));
    metrics::with_local_recorder(&recorder, || exporter.publish());
    handle.remove("a".into()).unwrap();
    settle().await;
    metrics::with_local_recorder(&recorder, || exporter.publish());
    assert_eq!(of("tower_lb_endpoint_weight", "endpoint=a"), gauge(0.0), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_recorder_gets_a_bounded_number_of_durations_with_the_slowest() {
    let (handle, balancer, registry) = balancer("users");
    let exporter = Exporter::new(&registry);
    let at_once = BoxCloneSyncService::new(service_fn(|millis: u64| async move {
        if millis > 1 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        Ok(millis)
    }));
    handle.insert("a".into(), at_once).unwrap();
    settle().await;
    for _ in 0..250_000 {
        call(&balancer, 1).await;
    }
    for _ in 0..3 {
        call(&balancer, 5000).await;
    }
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || exporter.publish());
    let recorded = recorded(&recorder);
    let mut found = recorded.iter().filter(|(name, ..)| name == "tower_lb_first_byte_seconds");
    let Some((_, _, DebugValue::Histogram(samples))) = found.next() else { panic!() };
    assert_eq!(samples.len(), 100_000);
    assert!(samples.iter().any(|sample| sample.0 > 4.0), "the slowest are not lost");
}

#[tokio::test(start_paused = true)]
async fn the_exporter_for_prometheus_drops_what_is_gone() {
    let (handle, balancer, registry) = balancer("users");
    let exporter = Exporter::new(&registry).grace(Duration::ZERO);
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &[0.01, 0.1, 1.0])
        .unwrap()
        .idle_timeout(MetricKindMask::ALL, Some(Duration::from_millis(50)))
        .build_recorder();
    let scrape = || {
        metrics::with_local_recorder(&recorder, || exporter.publish());
        recorder.handle().render()
    };
    for name in ["a", "\"b\"\n"] {
        handle.insert(name.into(), backend()).unwrap();
    }
    settle().await;
    for _ in 0..4 {
        call(&balancer, 20).await;
    }
    let text = scrape();
    assert_eq!(sum(&text, "tower_lb_requests_total"), 4.0, "{text}");
    assert_eq!(sum(&text, "tower_lb_endpoint_health"), 2.0);
    assert_eq!(sum(&text, "tower_lb_first_byte_seconds_count"), 4.0);
    assert!(text.contains("# TYPE tower_lb_first_byte_seconds histogram"), "{text}");
    assert!(text.contains("# HELP tower_lb_picks_total "), "{text}");

    handle.remove("a".into()).unwrap();
    settle().await;
    for _ in 0..5 {
        // The recorder has its own clock.
        thread::sleep(Duration::from_millis(20));
        advance(Duration::from_millis(20)).await;
        scrape();
    }
    let text = scrape();
    assert!(!text.contains("endpoint=\"a\""), "{text}");
    // Idle, but there.
    assert_eq!(sum(&text, "tower_lb_requests_total"), 2.0, "{text}");
    assert_eq!(sum(&text, "tower_lb_endpoint_health"), 1.0);
    assert_eq!(sum(&text, "tower_lb_endpoints"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn health_is_a_series_for_each_state() {
    let (handle, _balancer, registry) = balancer("users");
    handle.insert("a".into(), Endpoint::new(backend())).unwrap();
    let down = Endpoint::new(backend()).with_health(Health::unhealthy("refused"));
    handle.insert("b".into(), down).unwrap();
    settle().await;
    let begin = Instant::now();
    advance(Duration::from_secs(9)).await;
    let exporter = Exporter::new(&registry).endpoint_series(EndpointSeries::None);
    let text = exporter.render();
    let states = [("healthy", 1.0), ("degraded", 0.0), ("unhealthy", 1.0), ("draining", 0.0)];
    for (state, count) in states {
        let state = format!("state=\"{state}\"");
        assert_eq!(value(&text, "tower_lb_endpoint_health", &state), Some(count));
        assert_eq!(value(&text, "tower_lb_endpoints", &state), Some(count));
    }
    assert_eq!(sum(&text, "tower_lb_endpoints_eligible"), 1.0);
    let longest = begin.elapsed().as_secs_f64();
    assert_eq!(sum(&text, "tower_lb_endpoint_state_seconds"), longest, "not added up");
}
