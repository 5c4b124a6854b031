//! Files, the report, methods, hosts and settings.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tower_lb::observe::dashboard::{ActionKind, DashboardBuilder};

use crate::{TOKEN, get, hostile_report, request, send, text};

fn empty() -> Value {
    json!({ "time": 1, "balancers": [] })
}

#[tokio::test]
async fn every_path_answers_get_and_head_alike() {
    let dashboard = crate::shows(empty);
    for (path, status, content_type) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/app.js", 200, "text/javascript; charset=utf-8"),
        ("/style.css", 200, "text/css; charset=utf-8"),
        ("/api/report", 200, "application/json"),
        ("/api/actions", 200, "application/json"),
        ("/api/events", 200, "text/event-stream"),
        ("/index.html", 404, "application/json"),
        ("/app.js/", 404, "application/json"),
        ("//", 404, "application/json"),
        ("/%2e%2e/etc/passwd", 404, "application/json"),
        ("/api", 404, "application/json"),
        ("/api/report/x", 404, "application/json"),
    ] {
        let path = &format!("{path}?query=is&ignored");
        let mut heads = Vec::new();
        for method in ["GET", "HEAD"] {
            let response = send(&dashboard, request(method, path, &[], "")).await;
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers()["content-type"], content_type, "{method} {path}");
            heads.push(response.headers().clone());
            if method == "HEAD" && status == 200 {
                use http_body::Body;
                assert!(response.body().is_end_stream(), "{path}");
            }
        }
        assert_eq!(heads[0], heads[1], "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_rejected() {
    let read_only = crate::shows(empty);
    let builder = crate::configure(empty).token(TOKEN);
    let acting = builder.actions([ActionKind::Refresh], |_| Ok(())).build().unwrap();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"] {
        for path in ["/", "/app.js", "/api/report", "/api/events", "/api/actions"] {
            let response = send(&read_only, request(method, path, &[], "")).await;
            assert_eq!(response.status(), 405, "{method} {path}");
            assert_eq!(response.headers()["allow"], "GET, HEAD", "{method} {path}");
        }
        if method != "POST" {
            let response = send(&acting, request(method, "/api/actions", &[], "")).await;
            assert_eq!(response.status(), 405, "{method}");
            assert_eq!(response.headers()["allow"], "GET, HEAD, POST", "{method}");
        }
        let response = send(&acting, request(method, "/unknown", &[], "")).await;
        assert_eq!(response.status(), 404, "{method}");
    }
}

#[tokio::test]
async fn files_are_asked_about_by_their_tag() {
    let dashboard = crate::shows(empty);
    let mut tags = Vec::new();
    for path in ["/", "/app.js", "/style.css"] {
        let response = get(&dashboard, path).await;
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\",  {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
            (String::new(), 200),
        ] {
            let field = format!("if-none-match: {known}");
            let response = send(&dashboard, request("GET", path, &[&field], "")).await;
            assert_eq!(response.status(), status, "{path} {known}");
            assert_eq!(response.headers()["etag"], *tag);
            assert_eq!(text(response).await.1.is_empty(), status == 304);
        }
        tags.push(tag);
    }
    tags.dedup();
    assert_eq!(tags.len(), 3);
    for path in ["/api/report", "/api/actions", "/nothing"] {
        assert_eq!(get(&dashboard, path).await.headers()["cache-control"], "no-store");
    }
}

/// The policy forbids what is checked here: such code would not run.
#[tokio::test]
async fn the_page_has_no_inline_code_and_no_other_host() {
    let dashboard = crate::shows(empty);
    let (_, page) = text(get(&dashboard, "/").await).await;
    for path in ["app.js", "style.css"] {
        assert!(page.contains(&format!("\"{path}\"")), "{path}");
    }
    for forbidden in ["<style", "style=", "onclick", "onload", "javascript:", "<base", "<script>"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for path in ["/", "/app.js", "/style.css"] {
        let (_, file) = text(get(&dashboard, path).await).await;
        let namespace = "http://www.w3.org/2000/svg";
        let file = file.replace(namespace, "");
        for forbidden in ["http:", "https:", "//www", "@import", "url(", "src=\"/", "href=\"/"] {
            assert!(!file.contains(forbidden), "{path} {forbidden}");
        }
        let markup = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
        for forbidden in markup {
            assert!(!file.contains(forbidden), "{path} {forbidden}");
        }
    }
}

#[tokio::test]
async fn the_report_keeps_hostile_names() {
    let dashboard = crate::shows(hostile_report);
    let (status, body) = text(get(&dashboard, "/api/report").await).await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), hostile_report());
}

#[tokio::test]
async fn a_report_that_fails_is_an_error() {
    let dashboard = crate::shows(|| BTreeMap::from([(vec![1], "a key that is no text")]));
    let (status, body) = text(get(&dashboard, "/api/report").await).await;
    assert_eq!(status, 500);
    assert_eq!(body, json!({ "error": "key must be a string" }).to_string());
}

#[tokio::test]
async fn a_read_only_dashboard_grants_nothing() {
    let (_, body) = text(get(&crate::shows(empty), "/api/actions").await).await;
    assert_eq!(body, r#"{"granted":[],"token":false}"#);
}

#[tokio::test]
async fn only_allowed_hosts_are_served() {
    let builder = crate::configure(empty);
    let dashboard =
        builder.allowed_hosts(["localhost", "[::1]", "Lb.example:8080"]).build().unwrap();
    for (host, is_allowed) in [
        ("localhost", true),
        ("localhost:1234", true),
        ("LOCALHOST:80", true),
        ("[::1]:7000", true),
        ("lb.example:8080", true),
        ("lb.example", false),
        ("lb.example:80", false),
        ("localhost.evil.example", false),
        ("evil.example", false),
        ("127.0.0.1", false),
        ("localhost@evil.example", false),
        ("localhost/", false),
        ("", false),
    ] {
        for path in ["/", "/api/report", "/api/events", "/nothing"] {
            let field = format!("host: {host}");
            let response = send(&dashboard, request("GET", path, &[&field], "")).await;
            assert_eq!(response.status() != 403, is_allowed, "{host} {path}");
        }
    }
    // HTTP/2 has the host in the URI.
    for (uri, status) in [("http://localhost/", 200), ("http://evil.example/", 403)] {
        assert_eq!(get(&dashboard, uri).await.status(), status, "{uri}");
    }
    assert_eq!(get(&dashboard, "/").await.status(), 403, "without a host");
    let twice = request("GET", "/", &["host: localhost", "host: evil.example"], "");
    assert_eq!(send(&dashboard, twice).await.status(), 403);
}

#[test]
fn settings_that_are_invalid_are_named() {
    type Change = fn(DashboardBuilder) -> DashboardBuilder;
    let cases: [(&str, Change); 9] = [
        ("interval", |it| it.interval(std::time::Duration::ZERO)),
        ("max_streams", |it| it.max_streams(0)),
        ("token", |it| it.token("")),
        ("token", |it| it.token("15 is too short")),
        ("token", |it| it.token("a token with spaces")),
        ("token", |it| it.token("a-tökén-of-letters")),
        ("allowed_hosts", |it| it.allowed_hosts(["http://a/"])),
        ("allowed_hosts", |it| it.allowed_hosts(["user@a"])),
        ("actions", |it| it.actions([ActionKind::Drain], |_| Ok(()))),
    ];
    for (field, change) in cases {
        let error = change(crate::configure(empty)).build().unwrap_err();
        assert_eq!(error.field(), field);
        assert!(!error.to_string().contains("15 is"), "a secret is not shown: {error}");
    }
    let no_actions = crate::configure(empty).actions([], |_| Ok(()));
    assert!(no_actions.build().is_ok());
    let outside = crate::configure(empty).actions([ActionKind::Drain], |_| Ok(()));
    assert!(outside.authenticated_outside().build().is_ok());
    assert!(!format!("{:?}", crate::configure(empty).token(TOKEN)).contains(TOKEN));
    let built = crate::configure(empty).token(TOKEN).build().unwrap();
    assert!(!format!("{built:?}").contains(TOKEN));
}
