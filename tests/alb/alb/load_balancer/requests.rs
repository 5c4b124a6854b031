//! What targets and clients see of a request that is served.

use std::{collections::BTreeMap, future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tower_lb::lambda::{FunctionName, Invocation, InvokeError, Invoked};

use super::running::{
    Answer, Running, builder, certificate, checked, directory, exchange, forwarding,
};
use crate::target_group::backend::{Backend, Body, curl, until};

/// Answers with the request as it has arrived.
async fn echo() -> Backend {
    Backend::answering(|request| ready(describe(&request))).await
}

fn describe(request: &Request<Incoming>) -> Response<Body> {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    let seen = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
    });
    Response::new(Full::new(Bytes::from(seen.to_string())))
}

/// Answers with a name.
async fn named(name: &'static str) -> Backend {
    Backend::answering(move |_| {
        ready(Response::new(Full::new(Bytes::from_static(name.as_bytes()))))
    })
    .await
}

/// What an echoing target has received.
struct Seen(Value);

impl Seen {
    fn by(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(serde_json::from_slice(&answer.body).unwrap())
    }

    /// Returns the only value of a field.
    fn field(&self, name: &str) -> Option<&str> {
        let values = self.0["headers"].get(name)?.as_array().unwrap();
        assert_eq!(values.len(), 1, "{}", self.0);
        values[0].as_str()
    }

    fn target(&self) -> &str {
        self.0["target"].as_str().unwrap()
    }
}

/// A load balancer before an echoing target, with these attributes.
async fn with_attributes(attributes: &str) -> (Running, Backend) {
    let backend = echo().await;
    let config = format!("{}[load_balancer.attributes]\n{attributes}", forwarding(&backend));
    (Running::start(&config), backend)
}

#[tokio::test]
async fn x_forwarded_for_is_appended_preserved_or_removed() {
    let sent = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n";
    for (attributes, of_none, of_two) in [
        ("", Some("127.0.0.1"), Some("192.0.2.1, 192.0.2.2, 127.0.0.1")),
        ("x_forwarded_for = \"remove\"", None, None),
    ] {
        let (running, _backend) = with_attributes(attributes).await;
        let none = Seen::by(&running.get("/").await);
        assert_eq!(none.field("x-forwarded-for"), of_none, "{attributes}");
        let two = Seen::by(&running.with_fields("/", sent).await);
        assert_eq!(two.field("x-forwarded-for"), of_two, "{attributes}");
    }
    let (running, _backend) = with_attributes("x_forwarded_for = \"preserve\"").await;
    assert_eq!(Seen::by(&running.get("/").await).field("x-forwarded-for"), None);
    let two = Seen::by(&running.with_fields("/", sent).await);
    assert_eq!(two.0["headers"]["x-forwarded-for"], json!(["192.0.2.1", "192.0.2.2"]));
    let (running, _backend) = with_attributes("x_forwarded_for_port = true").await;
    let seen = Seen::by(&running.get("/").await);
    let port = seen.field("x-forwarded-for").unwrap().strip_prefix("127.0.0.1:").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
}

#[tokio::test]
async fn targets_learn_of_the_listener_and_not_what_the_client_claims() {
    let (running, _backend) = with_attributes("").await;
    let lies = "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n";
    let seen = Seen::by(&running.with_fields("/a%20b?c=d", lies).await);
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    // The port of the configuration, not the one that the test has bound.
    assert_eq!(seen.field("x-forwarded-port"), Some("8080"));
    assert_eq!(seen.field("host"), Some("a.test:8080"));
    assert_eq!(seen.target(), "/a%20b?c=d");
    assert_eq!(seen.field("via"), None);
    let (running, _backend) = with_attributes("preserve_host_header = true").await;
    assert_eq!(Seen::by(&running.get("/").await).field("host"), Some("a.test"));
}

#[tokio::test]
async fn each_request_has_a_trace_id() {
    let (running, _backend) = with_attributes("").await;
    let trace = |seen: Seen| seen.field("x-amzn-trace-id").unwrap().to_owned();
    let first = trace(Seen::by(&running.get("/").await));
    let second = trace(Seen::by(&running.get("/").await));
    assert!(first.starts_with("Root=1-") && first != second, "{first} {second}");
    let sent = "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678;App=a\r\n";
    let third = trace(Seen::by(&running.with_fields("/", sent).await));
    let (own, rest) = third.split_once(';').unwrap();
    assert!(own.starts_with("Self=1-"), "{third}");
    assert_eq!(rest, "Root=1-67891233-abcdef012345678912345678;App=a");
}

#[tokio::test]
async fn fields_with_invalid_names_are_dropped_if_asked() {
    let sent = "x_under: 1\r\nx.dot: 1\r\nx-valid: 1\r\n";
    let (running, _backend) = with_attributes("").await;
    let seen = Seen::by(&running.with_fields("/", sent).await);
    assert_eq!((seen.field("x_under"), seen.field("x-valid")), (Some("1"), Some("1")));
    let (running, _backend) = with_attributes("drop_invalid_header_fields = true").await;
    let seen = Seen::by(&running.with_fields("/", sent).await);
    let names = ["x_under", "x.dot", "x-valid"].map(|name| seen.field(name));
    assert_eq!(names, [None, None, Some("1")]);
}

#[tokio::test]
async fn rules_rewrite_redirect_and_respond() {
    let backend = echo().await;
    let rules = r#"
        [[listeners]]
        port = 8081
        attributes = { response_headers = { x-frame-options = "DENY" }, server_header = false }

        [[listeners.rules]]
        conditions = [{ path = "/v1/*" }]
        transforms = { url = { regex = "^/v1/(.*)$", replace = "/api/$1" }, host = { regex = "^a.test", replace = "b.test" } }
        action = { forward = "web" }

        [[listeners.rules]]
        conditions = [{ path = "/old/*" }]
        action = { redirect = { protocol = "https", port = 443, host = "www.#{host}", path = "/new/#{path}", query = "from=#{port}&#{query}", status = 301 } }

        [[listeners.rules]]
        conditions = [{ path = "/same/*" }]
        action = { redirect = { path = "/elsewhere" } }

        [[listeners.rules]]
        conditions = [{ path = "/fixed" }, { method = "GET" }]
        action = { fixed_response = { status = 418, content_type = "application/json", body = "{}" } }

        [bindings.listen]
        8081 = ["127.0.0.1:0"]
    "#;
    let forwarding = forwarding(&backend).replace("[bindings.listen]", "");
    let forwarding = forwarding.replace("8080 = [\"127.0.0.1:0\"]", "");
    let rules = rules.replace("[bindings.listen]", "[bindings.listen]\n8080 = [\"127.0.0.1:0\"]");
    let running = Running::start(&(forwarding + &rules));
    let get = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        exchange(running.at(8081), request).await
    };

    let answer = get("/v1/users?id=7").await;
    let seen = Seen::by(&answer);
    assert_eq!(seen.target(), "/api/users?id=7");
    assert_eq!(seen.field("host"), Some("b.test:8081"));
    assert_eq!(answer.field("x-frame-options"), Some("DENY"));

    let answer = get("/old/page?a=b").await;
    assert_eq!(answer.status, 301);
    let location = "https://www.a.test/new/old/page?from=8081&a=b";
    assert_eq!(answer.field("location"), Some(location));
    let answer = get("/same/page?a=b").await;
    assert_eq!(answer.status, 302);
    assert_eq!(answer.field("location"), Some("http://a.test:8081/elsewhere?a=b"));

    let answer = get("/fixed").await;
    assert_eq!((answer.status, answer.text()), (418, "{}"));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("x-frame-options"), Some("DENY"));
    assert_eq!(answer.field("server"), None, "{answer:?}");
    // The default action of a listener that has none.
    assert_eq!(get("/").await.status, 404);

    let status = running.balancer.status();
    let listener = status.listeners.iter().find(|listener| listener.port == 8081).unwrap();
    assert_eq!(listener.responses.own, [0, 0, 2, 2, 0]);
    let (head, ()) = Request::get("http://a.test:8081/fixed").body(()).unwrap().into_parts();
    let explanation = running.balancer.explain(&head).unwrap().to_string();
    assert!(explanation.starts_with("rule 4\n"), "{explanation}");
}

/// Two target groups, 90 to 10, with one named target each.
fn weighted(old: &Backend, new: &Backend, stickiness: &str) -> String {
    let (old, new) = (old.address, new.address);
    format!(
        r#"
            [[listeners]]
            port = 8080
            default_action = {{ forward = {{ groups = [{{ group = "old", weight = 90 }}, {{ group = "new", weight = 10 }}] {stickiness} }} }}
            [bindings.listen]
            8080 = ["127.0.0.1:0"]
            [[target_groups]]
            name = "old"
            targets = ["{old}"]
            health_check = {{ path = "/check" }}
            [[target_groups]]
            name = "new"
            targets = ["{new}"]
            health_check = {{ path = "/check" }}
        "#
    )
}

#[tokio::test]
async fn a_weighted_forward_keeps_its_shares_and_with_stickiness_its_clients() {
    let (old, new) = (named("old").await, named("new").await);
    let running = Running::start(&weighted(&old, &new, ""));
    for _ in 0..100 {
        let answer = running.get("/").await;
        assert_eq!(answer.field("set-cookie"), None);
    }
    assert!((85..=95).contains(&old.served()), "{}", old.served());
    assert_eq!(old.served() + new.served(), 100);

    let running = Running::start(&weighted(&old, &new, ", stickiness = \"1h\""));
    let url = format!("http://{}/", running.at(8080));
    let jar = std::env::temp_dir().join(format!("tower-lb-jar-{}", std::process::id()));
    let jar = jar.to_str().unwrap();
    for _ in 0..3 {
        let _ = std::fs::remove_file(jar);
        let both = ["--cookie", jar, "--cookie-jar", jar, &url];
        let Some(first) = curl(&both).await else { return };
        for _ in 0..20 {
            assert_eq!(curl(&both).await.unwrap(), first);
        }
        let cookies = std::fs::read_to_string(jar).unwrap();
        assert!(cookies.contains("AWSALBTG"), "{cookies}");
    }
    let _ = std::fs::remove_file(jar);
}

#[tokio::test]
async fn a_function_gets_the_event_of_a_load_balancer() {
    let arn = "arn:aws:lambda:eu-central-1:000000000000:function:f";
    let config = format!(
        r#"
            [[listeners]]
            port = 8080
            default_action = {{ forward = "function" }}
            [[target_groups]]
            name = "function"
            kind = "lambda"
            targets = ["{arn}"]
            attributes = {{ multi_value_headers = true }}
            [bindings.listen]
            8080 = ["127.0.0.1:0"]
            [bindings.functions]
            "{arn}" = {{ program = "f" }}
        "#
    );
    let invoke = |_: &FunctionName, invocation: Invocation| {
        let event: Value = serde_json::from_slice(&invocation.into_payload()).unwrap();
        let response = json!({
            "statusCode": 201,
            "multiValueHeaders": { "set-cookie": ["a=1", "b=2"], "content-type": ["text/plain"] },
            "body": event.to_string(),
        });
        ready(Ok::<_, InvokeError>(Invoked::new(200, response.to_string().into_bytes())))
    };
    let running = Running::of(builder(&config).function("f", invoke));
    let request = "POST /orders?id=7&id=8 HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/plain\r\n\
                   Content-Length: 2\r\n\r\nhi";
    let answer = running.send(request).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let event: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&event["httpMethod"], &event["path"]), (&json!("POST"), &json!("/orders")));
    assert_eq!(event["multiValueQueryStringParameters"]["id"], json!(["7", "8"]));
    assert_eq!(event["multiValueHeaders"]["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(event["multiValueHeaders"]["x-forwarded-port"], json!(["8080"]));
    assert_eq!(event["body"], json!("hi"));
}

#[tokio::test]
async fn a_rule_may_ask_for_a_token() {
    let issuer = "https://tokens.example.com";
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    public.common.key_id = Some("a".into());
    let directory = directory("token");
    let jwks = directory.join("jwks.json");
    std::fs::write(&jwks, json!({ "keys": [public] }).to_string()).unwrap();
    let (cert, key_file) = certificate(&directory, "a.test");
    let backend = echo().await;
    let config = format!(
        r#"
            [[listeners]]
            port = 8443
            protocol = "https"
            certificates = [{{ certificate = "{}", key = "{}" }}]
            default_action = {{ fixed_response = {{ status = 404 }} }}
            [[listeners.rules]]
            conditions = [{{ path = "/private/*" }}]
            action = {{ forward = "web" }}
            authenticate = {{ jwt = {{ issuer = "{issuer}", jwks = "{issuer}/keys", algorithms = ["ES256"] }} }}
            [[target_groups]]
            name = "web"
            targets = ["{}"]
            health_check = {{ path = "/check" }}
            [bindings.listen]
            8443 = ["127.0.0.1:0"]
            [bindings.jwks]
            "{issuer}/keys" = {{ file = "{}" }}
        "#,
        cert.display(),
        key_file.display(),
        backend.address,
        jwks.display(),
    );
    let running = Running::start(&config);
    let expires = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let token = |issuer: &str| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("a".into());
        let claims = json!({ "iss": issuer, "exp": expires.as_secs() + 60, "sub": "alice" });
        jsonwebtoken::encode(&header, &claims, &key).unwrap()
    };
    let address = running.at(8443);
    let resolve = format!("a.test:{}:127.0.0.1", address.port());
    let url = format!("https://a.test:{}/private/page", address.port());
    let get = async |authorization: &str| {
        let fixed =
            ["--insecure", "--resolve", &resolve, "--write-out", "%{http_code} %{http_version}"];
        curl(&[&fixed[..], &["--header", authorization, &url]].concat()).await
    };
    let Some(answer) = get(&format!("Authorization: Bearer {}", token(issuer))).await else {
        return;
    };
    assert!(answer.ends_with("200 2"), "{answer}");
    assert!(answer.contains(r#""x-forwarded-proto":["https"]"#), "{answer}");
    assert!(answer.contains(r#""host":["a.test:8443"]"#), "{answer}");
    let other =
        get(&format!("Authorization: Bearer {}", token("https://other.test"))).await.unwrap();
    assert!(other.ends_with("401 2"), "{other}");
    assert!(get("X-Other: a").await.unwrap().ends_with("401 2"));
    assert_eq!(backend.served(), 1);
}

#[tokio::test]
async fn without_cross_zone_each_zone_serves_by_its_own_targets() {
    let (a, b) = (named("a").await, named("b").await);
    let Some(port) = free_port() else {
        println!("skipped: 127.0.0.2 is no address of this machine");
        return;
    };
    let config = |cross_zone: bool, zonal_shift: bool| {
        format!(
            r#"
                [load_balancer]
                zones = [{{ name = "a", addresses = ["127.0.0.1"] }}, {{ name = "b", addresses = ["127.0.0.2"] }}]
                attributes = {{ cross_zone = {cross_zone}, zonal_shift = {zonal_shift} }}
                [[listeners]]
                port = {port}
                default_action = {{ forward = "web" }}
                [[target_groups]]
                name = "web"
                health_check = {{ path = "/check" }}
                targets = [{{ id = "127.0.0.1", port = {}, zone = "a" }}, {{ id = "127.0.0.1", port = {}, zone = "b" }}]
            "#,
            a.address.port(),
            b.address.port(),
        )
    };
    let running = Running::start(&config(false, true));
    let both_healthy = || running.balancer.status().target_groups[0].health.healthy == 2;
    until("both are healthy", both_healthy).await;
    let get = async |ip: &str| {
        let address = format!("{ip}:{port}").parse().unwrap();
        let answer = exchange(address, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().to_owned()
    };
    for _ in 0..10 {
        assert_eq!((&*get("127.0.0.1").await, &*get("127.0.0.2").await), ("a", "b"));
    }
    assert!(running.balancer.is_zone_healthy("a") && running.balancer.is_zone_healthy("b"));
    running.balancer.shift_zone(Some("a"));
    assert!(!running.balancer.is_zone_healthy("a") && running.balancer.is_zone_healthy("b"));

    // The group is made anew, and the zone stays away. Until one target is known to be healthy, all
    // get requests, also those of the zone.
    running.balancer.reload(checked(&config(true, true))).unwrap();
    until("both are healthy", both_healthy).await;
    for _ in 0..20 {
        assert_eq!(get("127.0.0.1").await, "b");
    }
    // It is away again before the groups have noticed that it was back.
    running.balancer.shift_zone(None);
    running.balancer.shift_zone(Some("a"));
    // Their drivers see both changes a moment later.
    let shifted = async {
        while get("127.0.0.1").await != "b" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), shifted).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for _ in 0..20 {
        assert_eq!(get("127.0.0.1").await, "b");
    }
    running.balancer.shift_zone(None);
    assert!(running.balancer.is_zone_healthy("a"));
    until("both are healthy", both_healthy).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seen.insert(get("127.0.0.1").await);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");

    // Without the attribute, a shift could not be ended.
    running.balancer.shift_zone(Some("a"));
    running.balancer.reload(checked(&config(true, false))).unwrap();
    assert!(running.balancer.is_zone_healthy("a") && !running.balancer.shift_zone(None));
}

#[tokio::test]
async fn targets_without_a_zone_serve_zones_without_targets() {
    let Some(port) = free_port() else { return };
    let backend = Backend::good().await;
    let text = format!(
        r#"
            [load_balancer]
            zones = [{{ name = "a", addresses = ["127.0.0.1"] }}, {{ name = "b", addresses = ["127.0.0.2"] }}]
            attributes = {{ cross_zone = false }}
            [[listeners]]
            port = {port}
            default_action = {{ forward = "web" }}
            [[target_groups]]
            name = "web"
            health_check = {{ path = "/check" }}
            targets = ["{}"]
        "#,
        backend.address
    );
    let running = Running::start(&text);
    until("the zone is healthy", || running.balancer.is_zone_healthy("a")).await;
    for ip in ["127.0.0.1", "127.0.0.2"] {
        let address = format!("{ip}:{port}").parse().unwrap();
        let answer = exchange(address, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// A port that is free on 127.0.0.1 and 127.0.0.2.
fn free_port() -> Option<u16> {
    (0..20).find_map(|_| {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        std::net::TcpListener::bind(("127.0.0.2", port)).ok().map(|_| port)
    })
}

#[tokio::test]
async fn old_and_unusual_forms_of_a_request_are_served() {
    let (running, backend) = with_attributes("").await;
    // HTTP/1.0 needs no Host.
    let answer = running.send("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(Seen::by(&answer).field("host"), Some("a.test:8080"));
    assert_eq!(running.send("GET /old HTTP/1.0\r\n\r\n").await.status, 200);
    // The target in absolute form is the host, whatever the field says.
    let answer = running.send("GET http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let seen = Seen::by(&answer);
    assert_eq!((seen.field("host"), seen.target()), (Some("b.test:8080"), "/x?y"));
    // Fields of the client's connection stop here.
    let hop = "Connection: x-hop\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n";
    let seen = Seen::by(&running.with_fields("/", hop).await);
    assert_eq!((seen.field("x-hop"), seen.field("keep-alive")), (None, None));
    // No two requests of one connection are mixed up.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut stream = tokio::net::TcpStream::connect(running.at(8080)).await.unwrap();
    let pipelined = get("/1") + &get("/2") + &get("/3");
    tokio::io::AsyncWriteExt::write_all(&mut stream, pipelined.as_bytes()).await.unwrap();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(Seen::by(&Answer::read(&mut stream).await).target(), path);
    }
    drop(backend);
}

#[tokio::test]
async fn a_head_request_to_a_fixed_response_has_no_body() {
    let backend = echo().await;
    let config = forwarding(&backend).replace(
        "{ forward = \"web\" }",
        "{ fixed_response = { status = 200, content_type = \"text/plain\", body = \"hello\" } }",
    );
    let running = Running::start(&config);
    let mut stream = tokio::net::TcpStream::connect(running.at(8080)).await.unwrap();
    let request = b"HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut read = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut read).await.unwrap();
    assert!(read.contains("content-length: 5\r\n") && read.ends_with("\r\n\r\n"), "{read}");
}

#[tokio::test]
async fn a_websocket_goes_through() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                               Upgrade: websocket\r\n\r\n";
                stream.write_all(switch).await?;
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let backend = Backend::good().await;
    let config = forwarding(&backend).replace(&backend.id(), &address.to_string());
    let running = Running::start(&config);
    let mut stream = tokio::net::TcpStream::connect(running.at(8080)).await.unwrap();
    let request = b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"hello").await.unwrap();
    let mut echoed = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut echoed).await.unwrap();
    assert_eq!(&echoed, b"hello");
    // It goes on by the old configuration.
    running.balancer.reload(checked(&config.replace("web", "other"))).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"again").await.unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut echoed).await.unwrap();
    assert_eq!(&echoed, b"again");
    target.abort();
}

#[tokio::test]
async fn metrics_tell_connections_rules_and_responses() {
    use tower_lb::observe::{Registry, metrics::Exporter};

    let backend = Backend::good().await;
    let running = Running::start(&forwarding(&backend));
    let registry = Registry::new();
    registry.add(&running.balancer);
    assert_eq!(running.get("/").await.status, 200);
    assert_eq!(running.send("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.status, 405);
    let text = Exporter::new(&registry).render();
    let responses = r#"tower_lb_responses_total{load_balancer="",listener="8080",zone="""#;
    for line in [
        format!(r#"{responses},by="target",class="2xx"}} 1"#),
        format!(r#"{responses},by="load_balancer",class="4xx"}} 1"#),
        r#"tower_lb_client_connections_accepted_total{listener="8080"} 2"#.to_owned(),
        r#"tower_lb_client_requests_total{listener="8080"} 2"#.to_owned(),
        r#"tower_lb_accept_errors_total{listener="8080"} 0"#.to_owned(),
        r#"tower_lb_rule_matches_total{rules="8080",rule="default"} 1"#.to_owned(),
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    assert!(text.contains(r#"tower_lb_requests_total{balancer="web""#), "{text}");
}
