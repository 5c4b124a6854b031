//! Streams of events, at paused time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, timeout};
use tower_lb::observe::dashboard::{Body, Dashboard, DashboardBuilder};

use crate::{get, hostile_report, request, send, text};

/// A dashboard whose report counts how often it was rendered.
fn counting() -> (DashboardBuilder, Arc<AtomicUsize>) {
    let rendered = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&rendered);
    let builder =
        crate::configure(move || json!({ "time": counted.fetch_add(1, Ordering::SeqCst) }));
    (builder, rendered)
}

async fn stream(dashboard: &Dashboard) -> Body {
    let response = get(dashboard, "/api/events").await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// The next piece, or `None` at the end.
async fn next(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap())
}

fn report(time: usize) -> Option<String> {
    Some(format!("data: {{\"time\":{time}}}\n\n"))
}

#[tokio::test(start_paused = true)]
async fn a_report_arrives_at_once_and_then_in_each_interval() {
    let dashboard = counting().0.build().unwrap();
    let response = get(&dashboard, "/api/events").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(!response.headers().contains_key("content-length"));
    let mut body = response.into_body();
    let start = Instant::now();
    assert_eq!(next(&mut body).await.unwrap(), "retry: 2000\n\n");
    for time in 0..5 {
        assert_eq!(next(&mut body).await, report(time));
        let passed = start.elapsed().as_secs_f64();
        assert!((passed - time as f64).abs() < 0.02, "{time}: {passed}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_clients_share_what_is_rendered() {
    let (builder, rendered) = counting();
    let dashboard = builder.build().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut body = stream(&dashboard).await;
        clients.push(tokio::spawn(async move {
            let mut events = Vec::new();
            let _ = timeout(Duration::from_millis(10_500), async {
                while let Some(event) = next(&mut body).await {
                    events.push(event);
                }
            })
            .await;
            events
        }));
        // They start at different times.
        advance(Duration::from_millis(37)).await;
    }
    for client in clients {
        let events = client.await.unwrap();
        // Each report once, and none is left out.
        let mut times = Vec::new();
        for event in &events[1..] {
            let json = event.strip_prefix("data: ").unwrap();
            let report: Value = serde_json::from_str(json).unwrap();
            times.push(report["time"].as_u64().unwrap());
        }
        assert!(times.len() >= 10, "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] == pair[0] + 1), "{times:?}");
    }
    assert!(rendered.load(Ordering::SeqCst) <= 13, "{rendered:?}");
    // A thousand readers of the JSON are served from one more.
    let before = rendered.load(Ordering::SeqCst);
    for _ in 0..1000 {
        assert_eq!(get(&dashboard, "/api/report").await.status(), 200);
    }
    assert!(rendered.load(Ordering::SeqCst) <= before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_interval_has_heartbeats() {
    let builder = counting().0.interval(Duration::from_secs(40));
    let mut body = stream(&builder.build().unwrap()).await;
    let start = Instant::now();
    next(&mut body).await;
    for (time, expected) in [(0, report(0)), (15, None), (30, None), (40, report(1)), (55, None)] {
        let expected = expected.or_else(|| Some(":\n\n".into()));
        assert_eq!(next(&mut body).await, expected, "{time}");
        assert_eq!(start.elapsed().as_secs(), time);
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_beyond_all_time_is_no_panic() {
    let builder = counting().0.interval(Duration::MAX);
    let mut body = stream(&builder.build().unwrap()).await;
    next(&mut body).await;
    assert_eq!(next(&mut body).await, report(0));
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_costs_nothing() {
    let (builder, rendered) = counting();
    let dashboard = builder.build().unwrap();
    let mut body = stream(&dashboard).await;
    next(&mut body).await;
    next(&mut body).await;
    advance(Duration::from_secs(3600)).await;
    assert_eq!(rendered.load(Ordering::SeqCst), 1);
    // It then gets one report, the newest, and not those it has missed.
    assert_eq!(next(&mut body).await, report(1));
    assert_eq!(next(&mut body).now_or_never(), None);
}

#[tokio::test(start_paused = true)]
async fn clients_beyond_the_limit_are_rejected() {
    let dashboard = counting().0.build().unwrap();
    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(stream(&dashboard).await);
    }
    let response = get(&dashboard, "/api/events").await;
    assert_eq!(response.headers()["retry-after"], "5");
    let (status, body) = text(response).await;
    assert_eq!(status, 503);
    assert!(body.contains("too many clients"), "{body}");
    // Asking for the head takes no place, and the report stays available.
    let head = send(&dashboard, request("HEAD", "/api/events", &[], "")).await;
    assert_eq!(head.status(), 200);
    assert_eq!(get(&dashboard, "/api/report").await.status(), 200);
    streams.pop();
    let _stream = stream(&dashboard).await;
    assert_eq!(get(&dashboard, "/api/events").await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_gives_up_its_place() {
    let dashboard = counting().0.max_streams(2).build().unwrap();
    let mut stalled = stream(&dashboard).await;
    let mut reading = stream(&dashboard).await;
    next(&mut stalled).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(29) {
        next(&mut reading).await;
        assert_eq!(get(&dashboard, "/api/events").await.status(), 503);
    }
    next(&mut reading).await;
    next(&mut reading).await;
    let mut new = stream(&dashboard).await;
    assert_eq!(next(&mut stalled).await, None);
    assert!(next(&mut new).await.is_some());
    assert!(next(&mut reading).await.is_some());
    // The end of the stalled one frees no place of another.
    drop(stalled);
    assert_eq!(get(&dashboard, "/api/events").await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn names_cannot_forge_events() {
    let mut body = stream(&crate::shows(hostile_report)).await;
    next(&mut body).await;
    let event = next(&mut body).await.unwrap();
    let json = event.strip_prefix("data: ").and_then(|it| it.strip_suffix("\n\n")).unwrap();
    assert!(!json.contains(['\n', '\r']));
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), hostile_report());
}

#[tokio::test(start_paused = true)]
async fn other_sites_take_no_place() {
    let dashboard = counting().0.max_streams(1).build().unwrap();
    for field in ["sec-fetch-site: cross-site", "sec-fetch-site: same-site"] {
        let response = send(&dashboard, request("GET", "/api/events", &[field], "")).await;
        assert_eq!(response.status(), 403, "{field}");
    }
    let own = request("GET", "/api/events", &["sec-fetch-site: same-origin"], "");
    assert_eq!(send(&dashboard, own).await.status(), 200);
}
