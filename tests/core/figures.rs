//! What stages and sources report, and the events of their changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::{advance, sleep};
use tower_lb::{
    discover::{self, Fetched, Handle, Schedule},
    endpoint::Endpoint,
    health::{
        CircuitBreaker, CircuitState, EjectionState, HealthCheck, HealthExt, InitialState,
        OutlierDetection, OverloadBackoff,
    },
    outcome::Outcome,
};
use tower_lb_test_support::{Watched, logs::Logs};

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Outcome = Outcome::ApplicationError;

fn channel(endpoints: usize) -> (Handle<usize, u32>, discover::Channel<usize, u32>) {
    let (handle, stream) = discover::channel();
    handle.reset((0..endpoints).map(|key| (key, 0))).unwrap();
    (handle, stream)
}

fn starting<'l>(logs: &'l [String], message: &str) -> Vec<&'l str> {
    let events = logs.iter().filter_map(|event| event.strip_prefix(message));
    events.map(str::trim_start).collect()
}

/// Results of a check by the target: passes, fails after 100 ms, or never ends.
async fn check(target: u32) -> Result<(), &'static str> {
    match target {
        0 => Ok(()),
        1 => {
            sleep(SECOND / 10).await;
            Err("connection refused")
        }
        _ => std::future::pending().await,
    }
}

#[tokio::test(start_paused = true)]
async fn checks_are_counted_by_result_and_timed() {
    let (logs, _guard) = Logs::collect();
    let (handle, stream) = channel(0);
    handle.reset([(0, 0), (1, 1), (2, 2)]).unwrap();
    let check = HealthCheck::new(check).interval(5 * SECOND).jitter(0.0).fall(2);
    let stage = stream.health_checked(check.initial(InitialState::FullyUp)).unwrap().named("users");
    let figures = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    for _ in 0..120 {
        advance(SECOND / 4).await;
        fleet.settle();
    }
    let status = figures.status();
    assert_eq!((&*status.name, status.endpoints.len()), ("users", 3));
    let [passing, failing, hanging] = &status.endpoints[..] else { panic!("{status:?}") };
    assert!(passing.healthy && !failing.healthy && !hanging.healthy, "{status:?}");
    assert_eq!(passing.reason, None);
    assert_eq!(failing.reason.as_deref(), Some("health check: connection refused"));
    assert_eq!(failing.last.as_ref().unwrap().error.as_deref(), Some("connection refused"));
    let counts = status.counts;
    assert_eq!(counts.passed, passing.counts.passed);
    assert_eq!(counts.failed, failing.counts.failed);
    assert_eq!(counts.timed_out, hanging.counts.timed_out);
    // The interval without traffic is 30 s, and that of a changing state 1 s.
    assert!(counts.failed.count >= 2 && counts.timed_out.count >= 2, "{counts:?}");
    let took = counts.failed.total_time.div_f64(counts.failed.count as f64);
    assert!((SECOND / 10..SECOND / 2).contains(&took), "{took:?}");
    assert!(counts.timed_out.total_time >= SECOND * counts.timed_out.count as u32);
    assert!(status.to_string().starts_with("users: "), "{status}");

    let logs = logs.take();
    let changes = starting(&logs, "health by checks changed");
    let [failing, hanging] = changes[..] else { panic!("{logs:#?}") };
    let expected = "stage=users endpoint=1 from=healthy to=unhealthy cause=connection refused";
    assert!(failing.starts_with(expected) && failing.contains(" lasted="), "{failing}");
    assert!(hanging.contains("cause=no response within 1s"), "{hanging}");

    handle.remove(1).unwrap();
    fleet.settle();
    assert_eq!(figures.status().endpoints.len(), 2, "a removed endpoint disappears");
    assert_eq!(figures.status().counts.failed, counts.failed, "and its checks still count");
    let weak = figures.downgrade();
    drop((fleet, figures));
    assert!(weak.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn checks_that_go_on_failing_are_logged_once_a_minute() {
    let (logs, _guard) = Logs::collect();
    let (_handle, stream) = channel(1);
    let failing = |_: u32| async { Err::<(), _>("connection refused") };
    let check = HealthCheck::new(failing).interval(SECOND).idle_interval(SECOND).jitter(0.0);
    let mut fleet = Watched::new(stream.health_checked(check).unwrap());
    fleet.settle();
    for _ in 0..150 {
        advance(SECOND).await;
        fleet.settle();
    }
    let logs = logs.take();
    assert_eq!(starting(&logs, "health by checks changed").len(), 1, "{logs:#?}");
    let failures = starting(&logs, "a health check failed");
    assert_eq!(failures.len(), 3, "{logs:#?}");
    assert!(failures[0].contains("suppressed=0"), "{failures:#?}");
    assert!(failures[1].contains("suppressed=59"), "{failures:#?}");
}

#[tokio::test(start_paused = true)]
async fn ejections_are_counted_by_reason_enforced_or_not() {
    let (logs, _guard) = Logs::collect();
    let (handle, stream) = channel(3);
    let detection = OutlierDetection::new().failed_responses(3).jitter(0.0).max_ejected(1, 0.0);
    let stage = stream.outlier_detected(detection).unwrap();
    let figures = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    for key in [0, 1] {
        for _ in 0..30 {
            fleet.request(&key).finish(FAILED);
        }
        fleet.settle();
    }
    let status = figures.status();
    assert_eq!(status.counts.enforced.failed_responses, 1);
    assert_eq!(status.counts.enforced.total(), 1);
    // Each further three failures detect the second endpoint again.
    assert_eq!(status.counts.unenforced.failed_responses, 10);
    let ejected = &status.endpoints[0];
    assert_eq!((ejected.state, ejected.ejections), (EjectionState::Ejected, 1));
    assert!(ejected.reason.as_ref().unwrap().contains("3 consecutive failed responses"));
    assert_eq!(status.endpoints[1].state, EjectionState::InService);

    advance(30 * SECOND).await;
    fleet.settle();
    assert_eq!(figures.status().endpoints[0].state, EjectionState::OnTrial);
    fleet.try_request(&0).unwrap().finish(FAILED);
    fleet.settle();
    assert_eq!(figures.status().counts.enforced.failed_trial, 1);
    advance(60 * SECOND).await;
    fleet.settle();
    fleet.try_request(&0).unwrap().finish(Outcome::Success);
    fleet.settle();
    let back = &figures.status().endpoints[0];
    assert_eq!((back.state, back.reason.as_deref()), (EjectionState::InService, None));

    let logs = logs.take();
    let changes = starting(&logs, "ejection changed");
    let expected = [
        "from=in_service to=ejected cause=3 consecutive failed responses lasted=0ns",
        "from=ejected to=on_trial cause=its ejection time is over lasted=30s",
        "from=on_trial to=ejected cause=it has failed the trial lasted=0ns",
        "from=ejected to=on_trial cause=its ejection time is over lasted=60s",
        "from=on_trial to=in_service cause=it has passed the trial lasted=0ns",
    ];
    let expected = expected.map(|change| format!("stage=outlier detection endpoint=0 {change}"));
    assert_eq!(changes, expected);
    let prevented = starting(&logs, "outlier not ejected: the limit is reached");
    assert_eq!(prevented.len(), 1, "nine of ten are suppressed: {logs:#?}");

    handle.reset([(2, 0)]).unwrap();
    fleet.settle();
    assert_eq!(figures.status().endpoints.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn circuits_have_their_states_and_causes() {
    let (logs, _guard) = Logs::collect();
    let (_handle, stream) = channel(2);
    let stage = stream.circuit_broken(CircuitBreaker::new()).unwrap().named("pay");
    let circuits = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    let state = || circuits.status().endpoints[0].state;
    for _ in 0..5 {
        fleet.request(&0).finish(FAILED);
    }
    fleet.settle();
    assert_eq!(state(), CircuitState::Open);
    advance(5 * SECOND).await;
    fleet.settle();
    assert_eq!(state(), CircuitState::HalfOpen);
    fleet.try_request(&0).unwrap().finish(FAILED);
    fleet.settle();
    advance(10 * SECOND).await;
    fleet.settle();
    fleet.try_request(&0).unwrap().finish(Outcome::Success);
    fleet.settle();
    assert_eq!(state(), CircuitState::Closed);
    let status = circuits.status();
    let counts = status.counts;
    assert_eq!(counts.opened_by_consecutive_failures, 1);
    assert_eq!((counts.opened_by_failed_trial, counts.half_opened, counts.closed), (1, 2, 1));
    assert_eq!((status.endpoints[0].opened, status.endpoints[1].opened), (2, 0));
    let logs = logs.take();
    let changes = starting(&logs, "circuit changed");
    assert_eq!(changes.len(), 5, "{logs:#?}");
    assert_eq!(
        changes[0],
        "stage=pay endpoint=0 from=closed to=open cause=5 consecutive failures lasted=0ns"
    );
}

#[tokio::test(start_paused = true)]
async fn the_backoff_of_an_overloaded_endpoint_begins_and_ends() {
    let (logs, _guard) = Logs::collect();
    let (_handle, stream) = channel(2);
    let stage = stream.overload_backoff(OverloadBackoff::new()).unwrap();
    let figures = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    for _ in 0..4 {
        fleet.request(&1).finish(Outcome::Overload { retry_after: None });
    }
    advance(SECOND).await;
    fleet.settle();
    let status = figures.status();
    assert_eq!((status.counts.lowered, status.counts.overloads), (1, 4));
    let shares: Vec<_> = status.endpoints.iter().map(|endpoint| endpoint.weight_share).collect();
    assert_eq!(shares, [1.0, 0.5]);
    for _ in 0..10 {
        advance(SECOND).await;
        fleet.settle();
    }
    assert_eq!(figures.status().endpoints[1].weight_share, 1.0);
    let logs = logs.take();
    let changes = starting(&logs, "overload backoff changed");
    assert_eq!(changes.len(), 2, "{logs:#?}");
    assert!(changes[0].contains("to=backing_off cause=4 overload responses"), "{changes:?}");
    assert!(changes[1].contains("to=full_weight"), "{changes:?}");
}

#[tokio::test(start_paused = true)]
async fn sources_report_updates_errors_and_age() {
    let (logs, _guard) = Logs::collect();
    let polls = Arc::new(AtomicU32::new(0));
    let schedule = Schedule::new().interval(10 * SECOND).jitter(0.0).backoff(SECOND, SECOND);
    let source = discover::refresh("table", schedule, move || {
        let poll = polls.fetch_add(1, Ordering::Relaxed);
        async move {
            match poll {
                // The second answer equals the first, and the last one does not.
                0 | 1 => Ok(Fetched::new([(0, Endpoint::new(0))])),
                2..=40 => Err("connection refused".into()),
                _ => Ok(Fetched::new([(0, Endpoint::new(0)), (1, Endpoint::new(0))])),
            }
        }
    });
    let source = source.unwrap();
    let status = source.status();
    let mut fleet = Watched::<discover::Refresh<u32, u32>>::new(source);
    fleet.settle();
    advance(10 * SECOND).await;
    fleet.settle();
    let report = status.report();
    assert_eq!((report.successes, report.updates, report.errors), (2, 1, 0));
    advance(10 * SECOND).await;
    for _ in 0..60 {
        fleet.settle();
        advance(SECOND).await;
    }
    let report = status.report();
    assert_eq!((report.updates, report.errors, report.failures), (2, 39, 0));
    assert!(report.to_string().starts_with("table: 2 endpoints, read "), "{report}");
    let logs = logs.take();
    let changes = starting(&logs, "source changed");
    assert_eq!(changes.len(), 2, "one for all 39 errors: {logs:#?}");
    let cause = "source=table from=answering to=failing cause=table: connection refused lasted=20s";
    assert_eq!(changes[0], cause);
    assert!(changes[1].contains("to=answering"), "{changes:?}");
    assert!(changes[1].contains("failures=39"), "{changes:?}");
    let weak = status.downgrade();
    drop((fleet, status));
    assert!(weak.upgrade().is_none());
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn figures_are_serialized_with_seconds() {
    let (handle, stream) = discover::channel::<String, u32>();
    let evil = "a\"\n<script>".repeat(1000);
    handle.reset([(evil.clone(), 1)]).unwrap();
    let stage = stream.health_checked(HealthCheck::new(check).jitter(0.0)).unwrap();
    let figures = stage.figures();
    let mut fleet = Watched::new(stage);
    fleet.settle();
    for _ in 0..6 {
        advance(SECOND / 10).await;
        fleet.settle();
    }
    let json = serde_json::to_value(figures.status()).unwrap();
    assert_eq!(json["name"], "health check");
    assert_eq!(json["counts"]["failed"]["count"], 1);
    assert_eq!(json["endpoints"][0]["endpoint"], evil);
    let took = json["endpoints"][0]["last"]["took_seconds"].as_f64().unwrap();
    assert!((0.1..0.3).contains(&took), "{json}");
    assert!(json["endpoints"][0]["since_seconds"].as_f64().is_some(), "{json}");
    let shown = figures.status().to_string();
    assert_eq!(shown.lines().count(), 2, "a name is escaped");
}
