//! Clients that others have written: curl, h2load, Chromium, and gRPC from Python.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    extract::ws::{WebSocket, WebSocketUpgrade},
    response::{Html, Sse, sse::Event},
    routing::{any, get, post},
};
use futures::{StreamExt, stream};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::{
    backend::{Backend, Speaks},
    certificate::Certificate,
    gateway::Gateway,
};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn is_installed(name: &str) -> bool {
    let mut version = Command::new(name);
    version.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = version.status().is_ok_and(|status| status.success());
    if !installed {
        eprintln!("SKIPPED: {name} is not installed");
    }
    installed
}

async fn output(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = output.await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn serving_tls(backend: SocketAddr, certificate: &Certificate) -> Gateway {
    let (cert, key) = (certificate.cert.display(), certificate.key.display());
    Gateway::start(&[
        format!("--upstream=http://{backend}"),
        format!("--tls-cert={cert}"),
        format!("--tls-key={key}"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_in_all_versions() {
    if !is_installed("curl") {
        return;
    }
    let certificate = Certificate::new("curl");
    let backend = Backend::start(Speaks::Http1, None).await;
    let plain = Gateway::before([backend.address]);
    let tls = serving_tls(backend.address, &certificate);
    let large = certificate.cert.with_file_name("large");
    std::fs::write(&large, "x".repeat(3 << 20)).unwrap();
    let large = format!("@{}", large.display());
    let (http, https) = (format!("http://{}", plain.address), format!("https://{}", tls.address));
    for (arguments, url, version) in [
        (&["--http1.0"][..], &http, "1"),
        (&["--http1.1"], &http, "1.1"),
        // Asks for an upgrade to h2c, which is not made.
        (&["--http2"], &http, "1.1"),
        (&["--http2-prior-knowledge"], &http, "2"),
        (&["--http1.1", "-k"], &https, "1.1"),
        (&["--http2", "-k"], &https, "2"),
    ] {
        let curl = |more: &[&str], path: &str| {
            let mut curl = Command::new("curl");
            curl.args([
                "-sS",
                "--max-time",
                "20",
                "-w",
                "\n%{http_code} %{http_version} %{size_download}",
            ]);
            curl.args(arguments).args(more).arg(format!("{url}{path}"));
            output(curl)
        };
        let end = |told: String| told.lines().last().unwrap_or_default().to_owned();
        assert_eq!(end(curl(&[], "/echo").await), format!("200 {version} 0"), "{arguments:?}");
        assert_eq!(curl(&["-d", "a=b"], "/echo").await, format!("a=b\n200 {version} 3"));
        // More than 1 MiB: on HTTP/1.1, curl expects 100 first.
        let sent = end(curl(&["--data-binary", &large], "/echo").await);
        assert_eq!(sent, format!("200 {version} {}", 3 << 20), "{arguments:?}");
        let head = curl(&["-I"], "/echo").await;
        assert!(head.to_lowercase().contains("content-length: 1234"), "{arguments:?}: {head}");
        assert_eq!(end(curl(&[], "/204").await), format!("204 {version} 0"));
    }
    plain.stop().assert_nothing_was_charged();
    tls.stop().assert_nothing_was_charged();
}

#[tokio::test(flavor = "multi_thread")]
async fn h2load_loses_no_request() {
    if !is_installed("h2load") {
        return;
    }
    let gateway = Gateway::start(&[]);
    for arguments in [&["-c8", "-m32"][..], &["-c8", "--h1"]] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n4000"]).args(arguments).arg(format!("http://{}/", gateway.address));
        let told = output(h2load).await;
        assert!(told.contains("4000 succeeded, 0 failed, 0 errored"), "{arguments:?}: {told}");
    }
    gateway.stop().assert_nothing_was_charged();
}

const PAGE: &str = "<!doctype html><title>wire</title><script>
const url = location.origin.replace('http', 'ws') + '/websocket';
const websocket = () => new Promise(done => {
  const socket = new WebSocket(url);
  socket.onopen = () => socket.send('hello');
  socket.onmessage = message => { socket.close(); done(message.data); };
  socket.onerror = () => done('failed');
});
const events = () => new Promise(done => {
  const got = [], source = new EventSource('/events');
  source.onmessage = event => {
    got.push(event.data);
    if (got.length == 3) { source.close(); done(got.join(',')); }
  };
  source.onerror = () => { source.close(); done('failed after ' + got); };
});
(async () => {
  const results = ['page ' + await (await fetch('/text')).text()];
  results.push('websocket ' + await websocket(), 'events ' + await events());
  await fetch('/result', { method: 'POST', body: results.join('; ') });
})();
</script>";

/// A page, the echo of a WebSocket, server-sent events that do not end, and where the page reports.
async fn site() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    async fn echo(mut socket: WebSocket) {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
    let (report, reports) = mpsc::unbounded_channel();
    let events = || async {
        let events = stream::iter(0..3).map(|n| Event::default().data(n.to_string()));
        Sse::new(events.chain(stream::pending()).map(Ok::<_, Infallible>))
    };
    let app = Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/text", get(|| async { "text" }))
        .route("/websocket", any(|upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo) }))
        .route("/events", get(events))
        .route("/result", post(|result: String| async move { drop(report.send(result)) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, reports)
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_shows_a_page_with_a_websocket_and_events() {
    if !is_installed("chromium") {
        return;
    }
    let certificate = Certificate::new("chromium");
    let (backend, mut reports) = site().await;
    let plain = Gateway::before([backend]);
    let tls = serving_tls(backend, &certificate);
    for url in [format!("http://{}/", plain.address), format!("https://{}/", tls.address)] {
        let profile = certificate.cert.with_file_name("profile");
        let mut chromium = Command::new("chromium");
        chromium
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running(chromium.spawn().unwrap());
        let report = timeout(Duration::from_secs(60), reports.recv()).await;
        let report = report.unwrap_or_else(|_| panic!("no report from {url}")).unwrap();
        assert_eq!(report, "page text; websocket hello; events 0,1,2", "{url}");
        drop(running);
    }
    plain.stop().assert_nothing_was_charged();
    tls.stop().assert_nothing_was_charged();
}

/// A Python that has grpcio: `.ci/install` makes one.
fn python() -> Option<String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/grpcio/bin/python");
    let candidates = [own.display().to_string(), "python3".to_owned()];
    let python = candidates.into_iter().find(|python| {
        let mut import = Command::new(python);
        import.args(["-c", "import grpc"]).stdout(Stdio::null()).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    });
    if python.is_none() {
        eprintln!("SKIPPED: there is no Python with grpcio");
    }
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_from_python() {
    let Some(python) = python() else { return };
    let script = |name: &str| {
        let mut script = Command::new(&python);
        script.arg(format!("{}/python/{name}.py", env!("CARGO_MANIFEST_DIR")));
        script
    };
    let mut server = script("server");
    let server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut server = Running(server);
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let upstream = format!("--upstream=http://127.0.0.1:{}", port.trim());
    let gateway = Gateway::start(&[upstream, "--upstream-http2".into()]);

    let mut client = script("client");
    client.arg(gateway.address.to_string());
    let told = output(client).await;
    assert_eq!(told.trim(), "ok");
    drop(server);
    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0));
}
