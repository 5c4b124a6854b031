//! Who may act, and what is written to the log.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use tower_lb::observe::dashboard::{Action, ActionError, ActionKind, Dashboard, DashboardBuilder};
use tower_lb_test_support::logs::Logs;

use crate::{TOKEN, get, hostile_names, request, send, text};

const DRAIN: &str = r#"{"action":"drain","balancer":"api","endpoint":"a"}"#;
const AUTHORIZATION: &str = "authorization: Bearer a-token-of-a-test";
const JSON: &str = "content-type: application/json";

type Performed = Arc<Mutex<Vec<Action>>>;

/// Grants all kinds but `Refresh`.
fn builder() -> (DashboardBuilder, Performed) {
    let performed = Performed::default();
    let actions = Arc::clone(&performed);
    let granted = [
        ActionKind::Drain,
        ActionKind::Undrain,
        ActionKind::SetWeight,
        ActionKind::EndEjection,
        ActionKind::ShiftZone,
        ActionKind::RestoreZone,
    ];
    let builder = crate::configure(|| json!({})).actions(granted, move |action| {
        let result = match &action {
            Action::Drain { endpoint, .. } if endpoint == "unknown" => {
                Err(ActionError::UnknownTarget)
            }
            Action::Drain { endpoint, .. } if endpoint == "last" => {
                Err(ActionError::Refused("the last\none".into()))
            }
            Action::Drain { endpoint, .. } if endpoint == "broken" => {
                Err(ActionError::Failed(io::Error::other("no channel").into()))
            }
            _ => Ok(()),
        };
        actions.lock().unwrap().push(action);
        result
    });
    (builder, performed)
}

fn with_token() -> (Dashboard, Performed) {
    let (builder, performed) = builder();
    (builder.token(TOKEN).build().unwrap(), performed)
}

async fn post(dashboard: &Dashboard, fields: &[&str], body: &str) -> (StatusCode, String) {
    text(send(dashboard, request("POST", "/api/actions", fields, body)).await).await
}

async fn act(dashboard: &Dashboard, body: &str) -> (StatusCode, String) {
    post(dashboard, &[AUTHORIZATION, JSON], body).await
}

#[tokio::test]
async fn the_page_learns_what_is_granted() {
    let (_, body) = text(get(&with_token().0, "/api/actions").await).await;
    let granted = ["drain", "undrain", "set_weight", "end_ejection", "shift_zone", "restore_zone"];
    let granted = json!({ "granted": granted, "token": true });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), granted);
}

#[tokio::test]
async fn every_action_arrives() {
    let (dashboard, performed) = with_token();
    let name = |name: &str| name.to_owned();
    for (body, action) in [
        (DRAIN, Action::Drain { balancer: name("api"), endpoint: name("a") }),
        (
            r#"{"action":"undrain","balancer":"api","endpoint":"a"}"#,
            Action::Undrain { balancer: name("api"), endpoint: name("a") },
        ),
        (
            r#"{"action":"set_weight","balancer":"api","endpoint":"a","weight":4294967295}"#,
            Action::SetWeight { balancer: name("api"), endpoint: name("a"), weight: u32::MAX },
        ),
        (
            r#"{"action":"end_ejection","balancer":"api","endpoint":"a"}"#,
            Action::EndEjection { balancer: name("api"), endpoint: name("a") },
        ),
        (
            r#"{"action":"shift_zone","balancer":"api","zone":"z"}"#,
            Action::ShiftZone { balancer: name("api"), zone: name("z") },
        ),
        (
            r#"{"action":"restore_zone","balancer":"api","zone":"z"}"#,
            Action::RestoreZone { balancer: name("api"), zone: name("z") },
        ),
    ] {
        assert_eq!(act(&dashboard, body).await, (StatusCode::OK, r#"{"done":true}"#.into()));
        assert_eq!(performed.lock().unwrap().pop(), Some(action));
    }
    assert!(performed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_action_that_is_not_understood_or_not_granted_is_not_performed() {
    let (dashboard, performed) = with_token();
    for (body, status) in [
        (r#"{"action":"refresh","balancer":"api"}"#, 403),
        (r#"{"action":"delete","balancer":"api","endpoint":"a"}"#, 400),
        (r#"{"action":"drain","balancer":"api"}"#, 400),
        (r#"{"action":"drain","balancer":"api","endpoint":"a","force":true}"#, 400),
        (r#"{"action":"drain","balancer":"api","endpoint":7}"#, 400),
        (r#"{"action":"set_weight","balancer":"api","endpoint":"a","weight":-1}"#, 400),
        (r#"{"action":"set_weight","balancer":"api","endpoint":"a","weight":4294967296}"#, 400),
        (r#"{"action":"set_weight","balancer":"api","endpoint":"a","weight":1.5}"#, 400),
        (r#"{"action":"drain","balancer":"api","endpoint":"a"} {}"#, 400),
        ("[]", 400),
        ("null", 400),
        ("", 400),
        ("{", 400),
    ] {
        let (is, answer) = act(&dashboard, body).await;
        assert_eq!(is, status, "{body}: {answer}");
        assert!(answer.starts_with(r#"{"error":""#), "{answer}");
    }
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(act(&dashboard, &deep).await.0, 400);
    assert!(performed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_action_without_the_token() {
    let (dashboard, performed) = with_token();
    for field in [
        "x-other: 1",
        "authorization: Bearer a-token-of-a-tesT",
        "authorization: Bearer a-token-of-a-test2",
        "authorization: Bearer a-token-of-a-tes",
        "authorization: Bearer ",
        "authorization: Bearer",
        "authorization: Basic a-token-of-a-test",
        "authorization: a-token-of-a-test",
        "cookie: token=a-token-of-a-test",
    ] {
        let response = request("POST", "/api/actions", &[field, JSON], DRAIN);
        let response = send(&dashboard, response).await;
        assert_eq!(response.status(), 401, "{field}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
    let twice = [AUTHORIZATION, AUTHORIZATION, JSON];
    assert_eq!(post(&dashboard, &twice, DRAIN).await.0, 401);
    assert!(performed.lock().unwrap().is_empty());
    let scheme = "authorization: bEARER a-token-of-a-test";
    assert_eq!(post(&dashboard, &[scheme, JSON], DRAIN).await.0, 200);
}

#[tokio::test]
async fn a_layer_of_the_program_may_authenticate() {
    let (builder, performed) = builder();
    let dashboard = builder.authenticated_outside().build().unwrap();
    assert_eq!(post(&dashboard, &[JSON], DRAIN).await.0, 200);
    assert_eq!(performed.lock().unwrap().len(), 1);
    let forged = ["sec-fetch-site: cross-site", JSON];
    assert_eq!(post(&dashboard, &forged, DRAIN).await.0, 403);
    assert_eq!(performed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_of_other_sites_are_rejected() {
    let (dashboard, performed) = with_token();
    let mut expected = 0;
    for (fields, is_allowed) in [
        (&["sec-fetch-site: same-origin"][..], true),
        (&["sec-fetch-site: none"], true),
        (&["sec-fetch-site: same-site"], false),
        (&["sec-fetch-site: cross-site"], false),
        (&["sec-fetch-site: "], false),
        (&["sec-fetch-site: same-origin", "sec-fetch-site: cross-site"], false),
        // A proxy in front may change the host; then only the browser knows.
        (&["sec-fetch-site: same-origin", "origin: https://a", "host: b"], true),
        (&["sec-fetch-site: cross-site", "origin: https://a", "host: a"], false),
        (&["origin: http://lb.example", "host: lb.example"], true),
        (&["origin: http://lb.example:80", "host: lb.example"], true),
        (&["origin: https://LB.example", "host: lb.example:443"], true),
        (&["origin: http://lb.example:8080", "host: lb.example:8080"], true),
        (&["origin: http://[::1]:8080", "host: [::1]:8080"], true),
        (&["origin: http://lb.example:8081", "host: lb.example:8080"], false),
        (&["origin: http://lb.example:8081", "host: lb.example"], false),
        (&["origin: http://evil.example", "host: lb.example"], false),
        (&["origin: http://lb.example.evil", "host: lb.example"], false),
        (&["origin: ftp://lb.example", "host: lb.example"], false),
        (&["origin: null", "host: null"], false),
        (&["origin: ", "host: lb.example"], false),
        (&["origin: http://lb.example"], false),
        (&["origin: http://a", "origin: http://lb.example", "host: lb.example"], false),
        // curl sends neither.
        (&["host: lb.example"], true),
        (&[], true),
    ] {
        let fields = [fields, &[AUTHORIZATION, JSON]].concat();
        let (status, _) = post(&dashboard, &fields, DRAIN).await;
        assert_eq!(status, if is_allowed { 200 } else { 403 }, "{fields:?}");
        expected += usize::from(is_allowed);
    }
    assert_eq!(performed.lock().unwrap().len(), expected);
    // A form of another site cannot send this type without being asked about first.
    for (field, status) in [
        ("content-type: application/json; charset=utf-8", 200),
        ("content-type: Application/JSON", 200),
        ("content-type: text/plain", 415),
        ("content-type: application/x-www-form-urlencoded", 415),
        ("content-type: application/jsonp", 415),
        ("content-type: text/plain; application/json", 415),
        ("x-other: 1", 415),
    ] {
        assert_eq!(post(&dashboard, &[AUTHORIZATION, field], DRAIN).await.0, status, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_in_size_and_time() {
    let (dashboard, performed) = with_token();
    let hostile = hostile_names();
    for name in &hostile {
        let body = json!({ "action": "drain", "balancer": name, "endpoint": name }).to_string();
        assert_eq!(act(&dashboard, &body).await.0, 200, "{} bytes", body.len());
    }
    assert_eq!(performed.lock().unwrap().len(), hostile.len());
    assert_eq!(act(&dashboard, &" ".repeat(200_000)).await.0, 413);

    type Piece = Result<Frame<Bytes>, io::Error>;
    let endless = futures::stream::repeat_with(|| Piece::Ok(Frame::data(Bytes::from_static(b" "))));
    let failing = futures::stream::iter([Piece::Err(io::Error::other("reset\nby peer"))]);
    let silent = futures::stream::pending::<Piece>();
    let start = Instant::now();
    for (body, status) in [
        (StreamBody::new(endless).boxed_unsync(), 413),
        (StreamBody::new(failing).boxed_unsync(), 400),
        (StreamBody::new(silent).boxed_unsync(), 408),
    ] {
        let request = Request::post("/api/actions").header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        let response = dashboard.clone().oneshot(request.body(body).unwrap()).await;
        let response = response.unwrap_or_else(|error: Infallible| match error {});
        assert_eq!(response.status(), status);
    }
    assert_eq!(start.elapsed().as_secs(), Duration::from_secs(10).as_secs());
}

#[tokio::test]
async fn errors_of_the_program_are_shown() {
    let (dashboard, _) = with_token();
    for (endpoint, status, message) in [
        ("unknown", 404, "no such balancer, endpoint or zone"),
        ("last", 409, r"refused: the last\none"),
        ("broken", 500, "failed: no channel"),
    ] {
        let (is, answer) = act(&dashboard, &DRAIN.replace("\"a\"", &format!("{endpoint:?}"))).await;
        assert_eq!(is, status);
        assert_eq!(answer, json!({ "error": message }).to_string());
    }
}

#[tokio::test]
async fn each_action_leaves_one_event_in_the_log() {
    let (dashboard, _) = with_token();
    let (logs, _collecting) = Logs::collect();
    for (body, expected) in [
        (DRAIN, "action=drain balancer=api endpoint=a result=done"),
        (
            r#"{"action":"set_weight","balancer":"a\nb","endpoint":"c","weight":3}"#,
            r"action=set_weight balancer=a\nb endpoint=c weight=3 result=done",
        ),
        (
            r#"{"action":"shift_zone","balancer":"api","zone":"z\u001b[31m"}"#,
            r"action=shift_zone balancer=api zone=z\u{1b}[31m result=done",
        ),
        (
            r#"{"action":"refresh","balancer":"api"}"#,
            "action=refresh balancer=api result=not granted",
        ),
        (
            r#"{"action":"drain","balancer":"api","endpoint":"last"}"#,
            r"action=drain balancer=api endpoint=last result=refused: the last\none",
        ),
    ] {
        act(&dashboard, body).await;
        assert_eq!(logs.take(), [format!("action from the dashboard {expected}")]);
    }
    // Without the token the log cannot be filled.
    post(&dashboard, &[JSON], DRAIN).await;
    act(&dashboard, "{}").await;
    assert_eq!(logs.take(), Vec::<String>::new());
}
