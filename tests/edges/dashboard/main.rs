//! The dashboard as clients see it: every response, who may act, and clients that do not read.

mod actions;
mod events;
mod pages;
mod sockets;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_lb::observe::{
    Registry,
    dashboard::{Body, Dashboard, DashboardBuilder},
};

const TOKEN: &str = "a-token-of-a-test";

/// Configures a dashboard that shows a report.
fn configure<R: Serialize>(report: impl Fn() -> R + Send + Sync + 'static) -> DashboardBuilder {
    Dashboard::builder(&Registry::new()).report(report)
}

/// A read-only dashboard that shows a report.
fn shows<R: Serialize>(report: impl Fn() -> R + Send + Sync + 'static) -> Dashboard {
    configure(report).build().unwrap()
}

/// A request with fields, written as `name: value`.
fn request(method: &str, path: &str, fields: &[&str], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Full::from(body.to_owned())).unwrap()
}

async fn send(dashboard: &Dashboard, request: Request<Full<Bytes>>) -> Response<Body> {
    let response = dashboard.clone().oneshot(request).await.unwrap();
    assert_is_safe(response.headers());
    response
}

async fn get(dashboard: &Dashboard, path: &str) -> Response<Body> {
    send(dashboard, request("GET", path, &[], "")).await
}

/// The status and the text of a response that ends.
async fn text(response: Response<Body>) -> (StatusCode, String) {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if let Some(length) = head.headers.get("content-length") {
        assert_eq!(length.to_str().unwrap(), body.len().to_string());
    }
    (head.status, String::from_utf8(body.into()).unwrap())
}

/// What each response must have, whatever its status.
fn assert_is_safe(headers: &HeaderMap) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let values: Vec<_> = headers.get_all(name).iter().collect();
        assert_eq!(values, [value], "{name}");
    }
    assert!(!headers.contains_key("access-control-allow-origin"));
    let cached = headers["cache-control"].to_str().unwrap();
    assert!(["no-store", "no-cache"].contains(&cached), "{cached}");
}

/// Names that break what is not escaped.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "\"quoted\" 'names'",
        "line\nbreak\r\n\r\ndata: forged",
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "nul\0 esc\u{1b}[31m",
        "\u{202e}txt.exe",
        "\u{2028}line\u{2029}",
        "",
    ]
    .map(Into::into)
    .into();
    names.push("x".repeat(10_000));
    names.push("\u{1}".repeat(10_000));
    names
}

fn hostile_report() -> Value {
    let endpoints = hostile_names().into_iter().map(|name| json!({ "name": name, "reason": name }));
    let endpoints: Vec<_> = endpoints.collect();
    let balancers = hostile_names().into_iter();
    let balancers = balancers.map(|name| json!({ "name": name, "endpoints": endpoints }));
    json!({ "time": 1.5, "balancers": balancers.collect::<Vec<_>>() })
}
