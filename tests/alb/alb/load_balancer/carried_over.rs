//! What goes on when a new configuration is loaded, because its own settings stay the same.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use tokio::time::{Instant, sleep};
use tower::service_fn;
use tower_lb::{alb::target_group::TargetState, auth::HttpClient};

use super::{
    reload::{Client, read},
    running::{Running, builder, certificate, checked, directory},
};
use crate::target_group::backend::{Backend, reply, until};

fn matched(running: &Running, rule: &str) -> u64 {
    let status = running.balancer.status();
    status.listeners[0].rules.rules.iter().find(|status| status.name == rule).unwrap().matched
}

#[tokio::test]
async fn rules_go_on_counting_by_name() {
    let text = |rules: &str| {
        format!(
            "[[listeners]]\nport = 8080\ndefault_action = {{ fixed_response = {{ status = 200 }} }}\n\
             {rules}\n[bindings.listen]\n8080 = [\"127.0.0.1:0\"]\n"
        )
    };
    let rule = |name: &str, priority: u32, path: &str| {
        format!(
            "[[listeners.rules]]\nname = \"{name}\"\npriority = {priority}\n\
             conditions = [{{ path = \"{path}\" }}]\n\
             action = {{ fixed_response = {{ status = 201 }} }}\n"
        )
    };
    let running = Running::start(&text(&(rule("a", 1, "/a") + &rule("b", 2, "/b"))));
    for path in ["/a", "/a", "/b", "/"] {
        running.get(path).await;
    }
    // `a` has another place, and `b` is another rule.
    let next = text(&(rule("c", 1, "/b") + &rule("a", 7, "/a/*")));
    running.balancer.reload(checked(&next)).unwrap();
    running.get("/a/x").await;
    assert_eq!([matched(&running, "a"), matched(&running, "c")], [3, 0]);
    assert_eq!(matched(&running, "default"), 1);
    assert_eq!(running.balancer.status().listeners[0].rules.replacements, 1);
}

/// A load balancer with one target that has to pass two checks, and a setting.
fn with_setting(backend: &Backend, attributes: &str, more: &str) -> String {
    let address = backend.address;
    format!(
        r#"
            [load_balancer.attributes]
            {attributes}
            [[listeners]]
            port = 8080
            default_action = {{ forward = "web" }}
            [bindings.listen]
            8080 = ["127.0.0.1:0"]
            [[target_groups]]
            name = "web"
            targets = ["{address}"]
            health_check = {{ path = "/check", interval = "60s" }}
            {more}
        "#
    )
}

#[tokio::test]
async fn a_group_goes_on_with_what_it_knows_of_its_targets() {
    let backend = Backend::good().await;
    let running = Running::start(&with_setting(&backend, "", ""));
    let state = || running.balancer.status().target_groups[0].targets[0].state;
    until("it is healthy", || state() == TargetState::Healthy).await;
    for (attributes, more) in [
        ("idle_timeout = \"2s\"", ""),
        ("client_keep_alive = \"90s\"", "[resilience.retries]\nattempts = 2"),
        ("", "[resilience]\nhedge = \"1s\""),
        ("", "port = 99"),
        ("", "attributes = { cross_zone = \"on\" }"),
    ] {
        let text = with_setting(&backend, attributes, more);
        running.balancer.reload(checked(&text)).unwrap();
        assert_eq!(state(), TargetState::Healthy, "{attributes} {more}");
        assert_eq!(running.get("/").await.status, 200);
    }
    assert_eq!(backend.checked(), 1, "no group was built anew");
}

#[tokio::test]
async fn a_new_idle_timeout_holds_for_the_next_request() {
    let backend = Backend::answering(|_| async {
        sleep(Duration::from_secs(60)).await;
        reply(200)
    });
    let backend = backend.await;
    let running = Running::start(&with_setting(&backend, "", ""));
    running.balancer.reload(checked(&with_setting(&backend, "idle_timeout = \"1s\"", ""))).unwrap();
    let start = Instant::now();
    assert_eq!(running.get("/").await.status, 504);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_targets_of_a_group_without_a_rule_are_unused() {
    let backend = Backend::good().await;
    let text = with_setting(&backend, "", "");
    let running = Running::start(&text);
    let target = || running.balancer.status().target_groups[0].targets[0].clone();
    until("it is healthy", || target().state == TargetState::Healthy).await;
    let other = text.replace("{ forward = \"web\" }", "{ fixed_response = { status = 404 } }");
    running.balancer.reload(checked(&other)).unwrap();
    let unused = target();
    assert_eq!(unused.state, TargetState::Unused);
    assert_eq!(unused.reason.unwrap().as_str(), "Target.NotInUse");
    running.balancer.reload(checked(&text)).unwrap();
    assert_eq!(target().state, TargetState::Healthy);
}

/// A listener with HTTPS that answers by itself.
fn https(directory: &std::path::Path, more: &str) -> String {
    let path = |file: &str| directory.join(file).display().to_string();
    let (cert, key) = (path("a.test.pem"), path("a.test.key"));
    format!(
        r#"
            [bindings.listen]
            443 = ["127.0.0.1:0"]
            [[listeners]]
            port = 443
            protocol = "https"
            certificates = [{{ certificate = "{cert}", key = "{key}" }}]
            default_action = {{ fixed_response = {{ status = 200 }} }}
            {more}
        "#
    )
}

impl Client {
    /// Sends a request on a connection of its own. Returns the status, and how the handshake went.
    async fn exchange(&self, authorization: &str) -> (u16, HandshakeKind) {
        let stream = self.connect().await.unwrap();
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::get("https://a.test/").header("authorization", authorization);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        connection.abort();
        (status, kind)
    }
}

#[tokio::test]
async fn clients_resume_their_tls_sessions() {
    let directory = directory("resumption");
    certificate(&directory, "a.test");
    let old = read(&directory);
    let running = Running::start(&https(&directory, ""));
    let client = Client::new(running.at(443), std::slice::from_ref(&old));
    assert_eq!(client.exchange("").await.1, HandshakeKind::Full);
    assert_eq!(client.exchange("").await.1, HandshakeKind::Resumed);

    let reload = |more| running.balancer.reload(checked(&https(&directory, more))).unwrap();
    reload("rules = [{ action = { fixed_response = { status = 299 } } }]");
    assert_eq!(client.exchange("").await, (299, HandshakeKind::Resumed));
    // Under another policy or certificate, a session has to begin anew.
    reload("security_policy = \"ELBSecurityPolicy-TLS13-1-3-2021-06\"");
    assert_eq!(client.exchange("").await.1, HandshakeKind::Full);
    assert_eq!(client.exchange("").await.1, HandshakeKind::Resumed);
    certificate(&directory, "a.test");
    let client = Client::new(running.at(443), &[old, read(&directory)]);
    assert_eq!(client.exchange("").await.1, HandshakeKind::Full);
    assert_eq!(client.exchange("").await.1, HandshakeKind::Resumed);
    reload("security_policy = \"ELBSecurityPolicy-TLS13-1-3-2021-06\"");
    assert_eq!(client.exchange("").await.1, HandshakeKind::Full);
}

#[tokio::test]
async fn a_key_set_is_not_fetched_again() {
    let directory = directory("key-set");
    certificate(&directory, "a.test");
    let jwt = |issuer: &str| {
        let jwt = format!(
            "[listeners.default_authenticate.jwt]\nissuer = \"{issuer}\"\n\
             jwks = \"https://keys.test/\"\nalgorithms = [\"ES256\"]\n"
        );
        https(&directory, &jwt)
    };
    let fetched = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&fetched);
    let keys = service_fn(move |_: Request<Full<Bytes>>| {
        count.fetch_add(1, Relaxed);
        // The key of RFC 7515, A.3.
        let keys = r#"{"keys":[{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(keys)))) }
    });
    let builder = builder(&jwt("https://issuer.test"));
    let running = Running::of(builder.http_client(HttpClient::new(keys)));
    let client = Client::new(running.at(443), &[read(&directory)]);
    // The header of ES256, and neither claims nor a signature that are worth anything.
    let token = format!("Bearer eyJhbGciOiJFUzI1NiJ9.e30.{}", "A".repeat(86));
    assert_eq!(client.exchange(&token).await.0, 401);
    assert_eq!(fetched.load(Relaxed), 1);

    let again = jwt("https://issuer.test") + "\n[load_balancer.attributes]\nidle_timeout = \"9s\"";
    for _ in 0..2 {
        running.balancer.reload(checked(&again)).unwrap();
        assert_eq!(client.exchange(&token).await.0, 401);
    }
    assert_eq!(fetched.load(Relaxed), 1);
    running.balancer.reload(checked(&jwt("https://other.test"))).unwrap();
    assert_eq!(client.exchange(&token).await.0, 401);
    assert_eq!(fetched.load(Relaxed), 2, "another authentication");
}
