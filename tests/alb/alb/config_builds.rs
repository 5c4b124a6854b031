//! What the check accepts can be built, with all that a program may accept.

use std::{cell::Cell, future::pending, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{RngAlgorithm, RngSeed},
};
use rustls::crypto::ring;
use serde_json::Value;
use tower_lb::{
    alb::{
        LoadBalancer,
        config::{Check, Checked, Config, Problems},
    },
    auth::HttpClient,
    lambda::{FunctionName, Invocation, InvokeError, Invoked},
    listener::tls::Certificate,
};

/// A configuration with every kind of setting, whose files and secrets the program supplies.
const EVERYTHING: &str = r##"
    [load_balancer]
    name = "all"
    zones = ["a", "b"]
    [load_balancer.attributes]
    idle_timeout = 60
    client_keep_alive = "1h"
    x_forwarded_for = "append"
    x_forwarded_for_port = true
    tls_headers = true
    http2 = true
    cross_zone = true
    [resilience]
    hedge = "200ms"
    budget = { share = 0.2, floor = 1.0, window = "10s" }
    retries = { attempts = 3, overall = "20s", backoff = { base = "25ms", max = "250ms" }, max_body_bytes = 1024 }
    timeouts = { connect = "1s" }
    outlier_detection = { interval = "5s", failed_responses = 3, unanswered_requests = 5, ejection_time = "10s", max_ejection_time = "60s", max_ejected_percent = 25.0 }
    [bindings]
    cookie_secret = { program = "cookie" }
    [bindings.listen]
    443 = ["127.0.0.1:8443"]
    [bindings.groups]
    pinned = ["127.0.0.1:9001"]
    [bindings.targets]
    i-1 = "127.0.0.1:9002"
    [bindings.functions]
    emulated = { endpoint = "http://127.0.0.1:9100" }
    [bindings.certificates]
    shop = { program = "shop" }
    [bindings.client_secrets]
    shop = { program = "client" }
    pool = { program = "client" }
    [bindings.jwks]
    "https://idp.example.com/jwks" = { url = "http://127.0.0.1:9200/jwks" }

    [[listeners]]
    port = 80
    addresses = ["127.0.0.1"]
    default_action = { redirect = { protocol = "https", port = 443, host = "www.#{host}", path = "/x/#{path}", query = "q=#{query}", status = 301 } }
    limits = { connections = 100, connections_per_address = 10 }
    attributes = { server_header = true, request_headers = { x-amzn-tls-version = "x-tls" }, response_headers = { x-frame-options = "DENY" } }
    [[listeners.rules]]
    name = "canary"
    priority = 10
    conditions = [{ host = ["shop.example.com"] }, { path = { values = ["/api/*"], regex = ["^/v[0-9]+/"] } }, { header = { name = "x-canary", value = { values = ["yes"], regex = ["^b"] } } }, { query = [{ key = "version", value = "2" }] }, { method = "GET" }, { source_ip = "10.0.0.0/8" }]
    transforms = { host = { regex = "^(.*)$", replace = "$1.internal" }, url = { regex = "^/api", replace = "/" } }
    action = { forward = { groups = [{ group = "pinned", weight = 90 }, { group = "second", weight = 10 }], stickiness = "1h" } }
    [[listeners.rules]]
    conditions = [{ path = "/teapot" }]
    action = { fixed_response = { status = 418, content_type = "text/plain", body = "short" } }

    [[listeners]]
    port = 443
    protocol = "https"
    security_policy = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
    certificates = ["shop", { program = "shop" }]
    mutual_tls = { mode = "passthrough" }
    default_authenticate = { cognito = { user_pool = "arn:aws:cognito-idp:eu-central-1:000000000000:userpool/eu-central-1_a", client_id = "pool", domain = "shop" } }
    default_action = { forward = "pinned" }
    [[listeners.rules]]
    conditions = [{ path = "/private/*" }]
    authenticate = { oidc = { issuer = "https://idp.example.com", endpoints = { authorization = "https://idp.example.com/a", token = "https://idp.example.com/t", user_info = "https://idp.example.com/u" }, client_id = "shop", session = { cookie = "session", scope = "openid email", timeout = "1h", parameters = { prompt = "login" }, unauthenticated = "deny" } } }
    action = { forward = "instances" }
    [[listeners.rules]]
    conditions = [{ path = "/token/*" }]
    authenticate = { jwt = { issuer = "https://idp.example.com", jwks = "https://idp.example.com/jwks", algorithms = ["RS256", "ES256"], claims = [{ name = "scope", format = "space_separated_values", values = ["orders"] }] } }
    action = { forward = "checkout" }
    [[listeners.rules]]
    conditions = [{ path = "/emulated" }]
    authenticate = { jwt = { issuer = "i", jwks = "https://idp.example.com/other" } }
    action = { forward = "emulated" }

    [[target_groups]]
    name = "pinned"
    attributes = { slow_start = "30s", stickiness = { by = "lb_cookie", duration = "1h" }, dns_failover = { count = 2, percentage = 50 }, fail_open = { count = 1, percentage = 20 } }
    [[target_groups]]
    name = "second"
    protocol = "https"
    version = "http2"
    port = 8080
    targets = ["10.0.0.1", { id = "10.0.0.3", port = 82, zone = "a" }]
    strategy = { strategy = "p2c", load = { by = "peak_ewma", decay = 5.0 } }
    health_check = { enabled = true, protocol = "http", port = 9000, path = "/health", interval = "10s", timeout = "5s", healthy_threshold = 3, unhealthy_threshold = 3, matcher = "200-299,301" }
    resilience = { retries = { attempts = 2 }, hedge = "1s" }
    attributes = { stickiness = { by = "app_cookie", cookie = "SID" } }
    [[target_groups]]
    name = "instances"
    kind = "instance"
    version = "grpc"
    port = 81
    targets = ["i-1"]
    health_check = { matcher = "0-5" }
    attributes = { algorithm = "weighted_random", anomaly_mitigation = true, cross_zone = "off", deregistration_delay = 10 }
    [[target_groups]]
    name = "checkout"
    kind = "lambda"
    targets = ["arn:aws:lambda:eu-central-1:000000000000:function:checkout"]
    health_check = { enabled = true, path = "/", interval = "35s", timeout = "30s", matcher = "200" }
    attributes = { multi_value_headers = true }
    [[target_groups]]
    name = "emulated"
    kind = "lambda"
    targets = ["emulated"]
"##;

/// Returns the configuration above as JSON.
fn base() -> Value {
    let config = Config::from_toml(EVERYTHING).unwrap();
    serde_json::from_str(&config.to_json().unwrap()).unwrap()
}

/// What the program supplies for each configuration.
struct Supplies {
    certificate: Certificate,
    http: HttpClient,
}

impl Supplies {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["shop.example.com".to_owned()]).unwrap();
        let certificate = Certificate::pem(made.cert.pem(), made.signing_key.serialize_pem());
        let http = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        Self { certificate, http: HttpClient::new(http) }
    }

    fn build(&self, config: Checked) -> Result<LoadBalancer, Problems> {
        LoadBalancer::builder(config)
            .crypto_provider(Arc::new(ring::default_provider()))
            .certificate("shop", self.certificate.clone())
            .function("checkout", |_: &FunctionName, _: Invocation| {
                pending::<Result<Invoked, InvokeError>>()
            })
            .secret("cookie", "0123456789abcdef0123456789abcdef")
            .secret("client", "secret")
            .http_client(self.http.clone())
            .build()
    }
}

/// Returns the pointers of all members and items of a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut add = |name: &str, value: &Value| {
        let name = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{at}/{name}");
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| add(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| add(&index.to_string(), value));
        }
        _ => {}
    }
}

/// Texts that are valid somewhere, at a bound, or beyond it.
fn texts() -> Vec<String> {
    let long =
        ["a".repeat(41), "b".repeat(129), "/c".repeat(200), "/d".repeat(700), "e".repeat(70_000)];
    let short = [
        "",
        "*",
        "?",
        "/",
        "a",
        "A",
        "default",
        "10",
        "a b",
        "é",
        "a\nb",
        "\u{0}",
        "$",
        "$0",
        "$2",
        "$$",
        "#",
        "#{host}",
        "/#{path}",
        "#{path}",
        "#{nonsense}",
        "#{",
        "?a=b",
        "a:b",
        "[::1]",
        "+80",
        "080",
        "65536",
        "0",
        "http",
        "HTTPS",
        "https",
        "text/html; charset=utf-8",
        "text",
        "a/b/c",
        "(",
        "(?i)a",
        "(?-u:\\xff)",
        "\\p{L}{900}",
        "a{1000}{50}",
        "(?=a)",
        "^(.*)(.*)$",
        "a*?b",
        "10.0.0.1",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "255.255.255.255/32",
        "::/0",
        "127.0.0.1:0",
        "127.0.0.1:81",
        "localhost:80",
        "host",
        "content-length",
        "x-amzn-tls-version",
        "X_Amzn_Tls_Version",
        "connection",
        "cookie",
        "get",
        "G T",
        "http://127.0.0.1/jwks",
        "http://idp.example.com",
        "https://u:p@idp.example.com",
        "https://idp.example.com/%",
        "https://[::1",
        "https:// a",
        "ftp://a",
        "https://idp.example.com/?q#f",
        "arn:aws:cognito-idp:::userpool/a",
        "arn:a:cognito-idp:x y:1:userpool/a b",
        "a..b",
        "openid",
        "openid é",
        "state",
        "AWSALB",
        "AWSALBTG",
        "AWSALBAPP-0",
        "__Host-a",
        "RS256",
        "HS256",
        "none",
        "200",
        "200-199",
        "199",
        "600",
        "0-99",
        "100",
        "12,13",
        "off",
        "0s",
        "1ns",
        "1ms",
        "8d",
        "99999d",
        "1s",
        "400d",
        "584542046090d",
        "monitor",
        "remove",
        "grpc",
        "http2",
        "lambda",
        "instance",
        "inherit",
        "on",
        "round_robin",
        "least_outstanding_requests",
        "weighted_random",
        "pinned",
        "second",
        "checkout",
        "instances",
        "b",
        "all",
        "emulated",
        "arn:aws:lambda:eu-central-1:000000000000:function:checkout:1",
        "arn:aws:lambda:x:y:function:",
        "function:checkout",
        "checkout:$LATEST",
        "exp",
        "scope",
        "passthrough",
    ];
    long.into_iter().chain(short.map(str::to_owned)).collect()
}

fn numbers() -> Vec<Value> {
    let mut numbers: Vec<_> = [
        0_u64,
        1,
        2,
        5,
        6,
        10,
        11,
        80,
        99,
        100,
        101,
        127,
        199,
        200,
        204,
        205,
        299,
        300,
        301,
        304,
        499,
        500,
        599,
        600,
        999,
        1000,
        1024,
        3601,
        4000,
        4001,
        50_000,
        50_001,
        65_535,
        65_536,
        604_800,
        604_801,
        1_000_000,
        1_000_001,
        4_294_967_295,
        4_294_967_296,
        18_446_744_073_709_551_615,
    ]
    .map(Value::from)
    .into();
    numbers.extend(
        [0.0, 0.001, 0.5, 1.0, 10.0, 10.5, 100.0, 100.5, 1e6, 1e7, 1e18, -1.0].map(Value::from),
    );
    numbers
}

/// Changes the member or the item at a pointer.
fn mutate(config: &mut Value, pointer: &str, how: usize, choice: Index) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = config.pointer_mut(parent).unwrap();
    match (how, &mut *parent) {
        // A list has an item twice, or none.
        (0, Value::Array(items)) => {
            let item = items[name.parse::<usize>().unwrap()].clone();
            items.extend(std::iter::repeat_n(item, choice.index(3) + 1));
        }
        (0, Value::Object(members)) => drop(members.remove(&name)),
        (1, Value::Array(items)) => items.clear(),
        (1, Value::Object(members)) => {
            // Another key with the same value.
            let (keys, value) = (texts(), members[&name].clone());
            members.insert(keys[choice.index(keys.len())].clone(), value);
        }
        (_, parent) => {
            let value = match parent {
                Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
                parent => &mut parent[&name],
            };
            // Many numbers may be texts, and the other way round.
            *value = match (&*value, how) {
                (Value::Bool(flag), _) => Value::from(!flag),
                (Value::Number(_), 2..=4) | (_, 5) => {
                    let numbers = numbers();
                    numbers[choice.index(numbers.len())].clone()
                }
                _ => {
                    let texts = texts();
                    Value::from(texts[choice.index(texts.len())].clone())
                }
            };
        }
    }
}

#[tokio::test]
async fn the_configuration_of_these_tests_can_be_built() {
    let config: Config = serde_json::from_value(base()).unwrap();
    // Stickiness by a cookie of the application, of a group among weights.
    let checked =
        Check::new().accept_all().check(&config).unwrap_or_else(|problems| panic!("{problems}"));
    Supplies::new().build(checked).unwrap_or_else(|problems| panic!("{problems}"));
}

/// Any settings are changed at random. Whatever the check accepts, with all that can be accepted,
/// is built.
#[tokio::test]
async fn what_the_check_accepts_can_be_built() {
    let supplies = Supplies::new();
    let base = base();
    let mut places = Vec::new();
    pointers(&base, "", &mut places);
    // What the program supplies is not in the configuration.
    places.retain(|place| !place.ends_with("/program"));
    let accepted = Cell::new(0);
    let mutation = (any::<Index>(), 0..6_usize, any::<Index>());
    let config = ProptestConfig {
        cases: 1000,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(mutations in proptest::collection::vec(mutation, 1..3))| {
        let mut config = base.clone();
        for (place, how, choice) in mutations {
            let place = &places[place.index(places.len())];
            // The one before may have removed it.
            if config.pointer(place).is_some() {
                mutate(&mut config, place, how, choice);
            }
        }
        let Ok(read) = serde_json::from_value::<Config>(config.clone()) else { return Ok(()) };
        let Ok(checked) = Check::new().accept_all().check(&read) else { return Ok(()) };
        accepted.set(accepted.get() + 1);
        if let Err(problems) = supplies.build(checked) {
            // Another name of a part that the program would supply.
            let is_supplied = problems.iter().any(|it| it.expected().contains("the program"));
            prop_assert!(is_supplied, "{problems}\n{}", read.to_toml().unwrap_or_default());
        }
    });
    assert!(accepted.get() > 50, "{}", accepted.get());
}

/// Values that an Application Load Balancer would reject, and this library as well, cannot be
/// accepted.
#[test]
fn what_cannot_be_built_cannot_be_accepted() {
    for (pointer, value, path) in [
        ("/listeners/0/rules/0/priority", "50001", "listeners.80.rules.50001.priority"),
        ("/listeners/0/rules/0/name", "\"11\"", "listeners.80.rules.10.name"),
        ("/listeners/0/rules/0/name", "\"default\"", "listeners.80.rules.10.name"),
        (
            "/listeners/0/rules/0/action/forward/groups/0/weight",
            "1000",
            "listeners.80.rules.10.action.forward.groups[0].weight",
        ),
        (
            "/listeners/0/rules/0/action/forward/stickiness",
            "\"8d\"",
            "listeners.80.rules.10.action.forward.stickiness",
        ),
        (
            "/listeners/0/rules/0/conditions/5/source_ip",
            "\"10.0.0.1/8\"",
            "listeners.80.rules.10.conditions[5].source_ip[0]",
        ),
        (
            "/listeners/0/rules/0/conditions/1/path/regex/0",
            "\"\\\\p{L}{900}\"",
            "listeners.80.rules.10.conditions[1].path.regex[0]",
        ),
        (
            "/listeners/0/rules/0/transforms/url/replace",
            "\"/a b\"",
            "listeners.80.rules.10.transforms.url.replace",
        ),
        (
            "/listeners/0/default_action/redirect/host",
            "\"a b\"",
            "listeners.80.default_action.redirect.host",
        ),
        (
            "/listeners/0/rules/1/action/fixed_response/status",
            "304",
            "listeners.80.rules.11.action.fixed_response.status",
        ),
        (
            "/listeners/0/attributes/request_headers/x-amzn-tls-version",
            "\"content-length\"",
            "listeners.80.attributes.request_headers",
        ),
        (
            "/listeners/0/limits/connections_per_address",
            "101",
            "listeners.80.limits.connections_per_address",
        ),
        ("/listeners/0/limits/connections", "0", "listeners.80.limits.connections"),
        (
            "/listeners/1/rules/0/authenticate/oidc/issuer",
            "\"http://idp.example.com\"",
            "listeners.443.rules.1.authenticate.oidc.issuer",
        ),
        (
            "/listeners/1/rules/0/authenticate/oidc/session/timeout",
            "\"8d\"",
            "listeners.443.rules.1.authenticate.oidc.session.timeout",
        ),
        (
            "/listeners/1/rules/1/authenticate/jwt/algorithms/0",
            "\"HS256\"",
            "listeners.443.rules.2.authenticate.jwt.algorithms[0]",
        ),
        (
            "/target_groups/1/health_check/enabled",
            "false",
            "target_groups.second.health_check.enabled",
        ),
        (
            "/target_groups/1/health_check/matcher",
            "\"500\"",
            "target_groups.second.health_check.matcher",
        ),
        (
            "/target_groups/1/strategy/load/decay",
            "-1.0",
            "target_groups.second.strategy.load.decay",
        ),
        (
            "/target_groups/0/attributes/cross_zone",
            "\"off\"",
            "target_groups.pinned.attributes.stickiness",
        ),
        (
            "/target_groups/0/attributes/fail_open/count",
            "\"off\"",
            "target_groups.pinned.attributes.fail_open.count",
        ),
        ("/target_groups/3/targets", "[]", "target_groups.checkout.targets"),
        ("/target_groups/3/targets/0", "\"a b\"", "target_groups.checkout.targets[0]"),
        (
            "/bindings/functions/emulated/endpoint",
            "\"ftp:/\"",
            "bindings.functions.emulated.endpoint",
        ),
        (
            "/bindings/jwks/https:~1~1idp.example.com~1jwks/url",
            "\"http://a.test\"",
            "bindings.jwks.https://idp.example.com/jwks.url",
        ),
    ] {
        let mut config = base();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        match config.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
            parent => parent[name] = value,
        }
        let config: Config = serde_json::from_value(config).unwrap();
        let problems = Check::new().accept_all().check(&config).expect_err(pointer);
        let paths: Vec<_> = problems.iter().map(|it| it.path()).collect();
        assert!(paths.contains(&path), "{pointer}: {problems}");
    }
}
