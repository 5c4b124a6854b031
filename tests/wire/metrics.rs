//! What Prometheus's own tool says of a scrape, of the alerts and of the dashboard's queries.
//!
//! `apt-get install --no-install-recommends prometheus` brings `promtool`.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use tower::{ServiceExt, service_fn};
use tower_lb::{
    Balancer, BoxError, Endpoint, discover,
    endpoint::{Health, Locality},
    observe::{
        Registry,
        metrics::{CATALOG, Exporter},
    },
    strategy::P2c,
};

/// Returns what `promtool` writes, and whether it is content; `None` if it is not installed.
fn promtool(arguments: &[&str], input: &[u8]) -> Option<(bool, String)> {
    let child = Command::new("promtool")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: promtool is not installed; it is in the package prometheus");
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn assert_content(arguments: &[&str], input: &[u8]) {
    if let Some((is_content, text)) = promtool(arguments, input) {
        assert!(is_content, "promtool {arguments:?}: {text}");
    }
}

/// Serves the exporter on a socket, and returns the body of one scrape.
fn scrape(exporter: Exporter) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).unwrap();
        let (kind, body) = (Exporter::CONTENT_TYPE, exporter.render());
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    server.join().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

#[tokio::test]
async fn promtool_accepts_a_live_scrape() {
    let service = service_fn(|ok: bool| async move {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if ok { Ok(()) } else { Err(BoxError::from("refused")) }
    });
    let endpoint = || Endpoint::new(service).with_locality(Locality::new("r", "zone \"a\""));
    let long = "x".repeat(10_000);
    let endpoints = discover::list(
        [
            ("a", endpoint()),
            ("\"} 1\nup 1\\", endpoint()),
            ("b\u{1}", endpoint().with_health(Health::degraded("slow"))),
            ("b\u{2}", endpoint()),
            (long.as_str(), endpoint()),
        ]
        .map(|(name, endpoint)| (name.to_owned(), endpoint)),
    );
    let builder = Balancer::builder().name("users \"1\"\n<script>").measure_durations(true);
    let balancer = builder.spawn(P2c::default(), endpoints).unwrap();
    let registry = Registry::new();
    registry.add(&balancer);
    for n in 0..50 {
        let _ = balancer.clone().oneshot(n % 7 > 0).await;
    }
    let exporter = Exporter::new(&registry);
    let text = tokio::task::spawn_blocking(|| scrape(exporter)).await.unwrap();
    assert!(text.lines().count() > 200, "{text}");
    assert_content(&["check", "metrics"], text.as_bytes());
}

#[tokio::test]
async fn promtool_accepts_a_live_scrape_of_the_edges_below_http() {
    let edges = crate::edges::Edges::start("edge \"1\"\n<script>").await;
    let exporter = Exporter::new(&edges.registry);
    let text = tokio::task::spawn_blocking(|| scrape(exporter)).await.unwrap();
    for edge in ["tcp_", "udp_", "geneve_"].map(|edge| format!("tower_lb_{edge}")) {
        for metric in CATALOG.iter().filter(|metric| metric.name.starts_with(&edge)) {
            assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{}", metric.name);
        }
    }
    assert_content(&["check", "metrics"], text.as_bytes());
}

#[test]
fn promtool_finds_mistakes_in_a_scrape() {
    if let Some((is_content, text)) = promtool(&["check", "metrics"], b"lb_state_m 1\n") {
        assert!(!is_content, "{text}");
    }
}

#[test]
fn promtool_accepts_the_alerts() {
    assert_content(&["check", "rules", "alerts.yml"], &[]);
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    assert_content(&["test", "rules", "alerts_test.yml"], &[]);
}

#[test]
fn promtool_can_read_the_queries_of_the_dashboard() {
    let dashboard = include_str!("../../docs/grafana/tower-lb.json");
    let queries = dashboard.lines().filter_map(|line| line.trim().strip_prefix("\"expr\": "));
    // A string of JSON is one of YAML too.
    let rule = |(number, query): (usize, &str)| {
        let query = query.trim_end_matches(',').replace("$__rate_interval", "5m");
        format!("      - record: query:{number}\n        expr: {query}\n")
    };
    let rules: Vec<_> = queries.enumerate().map(rule).collect();
    assert!(rules.len() > 30);
    let text = format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.concat());
    let folder = std::env::temp_dir().join(format!("tower-lb-queries-{}.yml", std::process::id()));
    fs::write(&folder, text).unwrap();
    let result = promtool(&["check", "rules", folder.to_str().unwrap()], &[]);
    fs::remove_file(&folder).unwrap();
    if let Some((is_content, text)) = result {
        assert!(is_content, "{text}");
    }
}
