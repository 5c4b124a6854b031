//! Texts from outside are shown escaped: in log events, in `Status` and in errors.

use std::time::Duration;

use tokio::time::sleep;
use tower::{ServiceExt, service_fn};
use tower_lb::{
    Balancer, BoxError, Error,
    discover::{self, DiscoverExt, Schedule},
    endpoint::{Endpoint, EndpointId, Health, Locality},
    health::{CircuitBreaker, Draining, HealthCheck, HealthExt, OutlierDetection},
    strategy::{RoundRobin, ZonalShift},
};
use tower_lb_test_support::logs::Logs;

/// A line end that begins a false event, a terminal's control sequences (ESC and C1), DEL, an override
/// of the direction, a line separator.
const EVIL: &str = "x\nWARN all is well\r\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{2028}";
const ESCAPED: &str = r"x\nWARN all is well\r\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}\u{2028}";

#[track_caller]
fn assert_safe(text: &str) {
    let is_unsafe = |char: char| char.is_control() || EVIL[20..].contains(char) && !char.is_ascii();
    assert!(!text.chars().any(is_unsafe), "{text:?}");
}

/// An endpoint lives through all that is logged of one.
#[tokio::test(start_paused = true)]
async fn events_notices_and_the_status_are_escaped() {
    let (logs, _guard) = Logs::collect();
    let (handle, stream) = discover::channel::<String, u32>();
    let checked = stream
        .health_checked(HealthCheck::new(|target: u32| async move {
            if target == 1 { Err(EVIL) } else { Ok(()) }
        }))
        .unwrap()
        .outlier_detected(OutlierDetection::new().unanswered_requests(1))
        .unwrap()
        .circuit_broken(CircuitBreaker::new().consecutive_failures(2))
        .unwrap()
        .drained(Draining::within(Duration::from_secs(1)))
        .unwrap()
        .connect(|_: &u32| service_fn(|()| async { Err::<(), BoxError>(EVIL.into()) }));
    let strategy = ZonalShift::new(RoundRobin::default());
    let shift = strategy.handle();
    let balancer = Balancer::spawn(strategy, checked);

    let zone = || Locality::new(EVIL, EVIL);
    for (key, target) in [("other", 0), (EVIL, 0)] {
        handle.insert(key.to_owned(), Endpoint::new(target).with_locality(zone())).unwrap();
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        let error = balancer.clone().oneshot(()).await.unwrap_err();
        assert_safe(&error.to_string());
        sleep(Duration::from_secs(1)).await;
    }
    // The check fails.
    handle.insert(EVIL.to_owned(), Endpoint::new(1).with_locality(zone())).unwrap();
    sleep(Duration::from_secs(60)).await;
    shift.shift_away(EVIL);
    sleep(Duration::from_secs(1)).await;
    let status = balancer.status();
    let name = |name: &str| status.endpoints.iter().any(|endpoint| &*endpoint.name == name);
    assert!(name(EVIL), "as data, a key stays as it is");
    assert!(status.notices.iter().any(|notice| notice.contains(ESCAPED)), "{:?}", status.notices);
    let shown = status.to_string();
    assert!(shown.contains(&format!("health check: {ESCAPED}")), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.starts_with(ESCAPED)).count(), 1, "{shown}");
    shown.lines().for_each(assert_safe);
    shift.restore(EVIL, Duration::ZERO);
    handle.remove(EVIL.to_owned()).unwrap();
    sleep(Duration::from_secs(5)).await;

    let logs = logs.take();
    logs.iter().for_each(|event| assert_safe(event));
    for message in [
        "endpoint added",
        "endpoint removed",
        "health changed",
        "health by checks changed",
        "ejection changed",
        "circuit changed",
        "drained",
        "zone taken out",
        "zone put back",
    ] {
        let told = logs.iter().any(|event| event.starts_with(message) && event.contains(ESCAPED));
        assert!(told, "{message}: {logs:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_sources_are_escaped() {
    let (logs, _guard) = Logs::collect();
    let source = discover::refresh(EVIL, Schedule::new(), || async {
        Err::<discover::Fetched<u32, u32>, _>(EVIL.into())
    });
    let stream =
        source.unwrap().connect(|_: &u32| service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let balancer = Balancer::spawn(RoundRobin::default(), stream);
    sleep(Duration::from_millis(10)).await;
    let error = format!("{ESCAPED}: {ESCAPED}");
    let status = balancer.status();
    assert_eq!(status.driver.last_error.as_ref().unwrap().to_string(), error);
    assert!(status.to_string().contains(&error), "{status}");
    let logs = logs.take();
    assert!(logs.iter().any(|event| event.contains(&error)), "{logs:#?}");
    logs.iter().for_each(|event| assert_safe(event));
}

#[test]
fn what_is_shown_is_escaped_and_what_is_read_is_not() {
    let health = Health::unhealthy(EVIL);
    assert_eq!(health.to_string(), format!("unhealthy: {ESCAPED}"));
    assert_eq!(health.reason(), Some(EVIL));
    assert_eq!(Locality::new("eu", EVIL).to_string(), format!("eu/{ESCAPED}"));
    let endpoint = EndpointId::new(EVIL, &Endpoint::new(()));
    assert_eq!((endpoint.to_string().as_str(), endpoint.name()), (ESCAPED, EVIL));
    let error = Error::Endpoint { balancer: None, endpoint, source: EVIL.into() };
    assert_eq!(error.to_string(), format!("endpoint {ESCAPED} failed"));
    assert_eq!(error.endpoint(), Some(EVIL));
}

#[cfg(feature = "document")]
#[test]
fn a_document_is_quoted_escaped() {
    use discover::{Format, parse_document};
    for document in [
        r#"{"endpoints": [{"address": "a", "\n\u001b[2J\u202e": 1}]}"#,
        r#"{"endpoints": ["\n\u001b[2J\u202e"]}"#,
    ] {
        let error = parse_document::<std::net::SocketAddr>(document, Format::Json).unwrap_err();
        assert_safe(&error.to_string());
        assert!(error.to_string().contains(r"\u{202e}"), "{error}");
    }
}
