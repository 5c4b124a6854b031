//! A new configuration while clients send requests without a pause.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_lb::{
    BoxError,
    alb::{
        LoadBalancer,
        config::{Check, Config},
    },
};

use super::running::{Running, certificate, checked, directory, exchange};
use crate::target_group::backend::{Backend, until};

/// The load balancer of these tests: HTTPS with the files of one certificate.
#[derive(Clone)]
struct Setup {
    certificate: String,
    targets: Vec<SocketAddr>,
    rules: &'static str,
    idle_timeout: &'static str,
    /// A further listener.
    plain: Option<u16>,
}

impl Setup {
    fn new(directory: &Path, targets: &[&Backend]) -> Self {
        let (cert, key) = certificate(directory, "a.test");
        let (cert, key) = (cert.display(), key.display());
        Self {
            certificate: format!("{{ certificate = \"{cert}\", key = \"{key}\" }}"),
            targets: targets.iter().map(|backend| backend.address).collect(),
            rules: "",
            idle_timeout: "60s",
            plain: None,
        }
    }

    fn text(&self) -> String {
        let Self { certificate, targets, rules, idle_timeout, plain } = self;
        let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let plain = plain.map(|port| {
            format!(
                "[[listeners]]\nport = {port}\naddresses = [\"127.0.0.1\"]\ndefault_action = {{ forward = \"web\" }}\n"
            )
        });
        format!(
            r#"
                [load_balancer.attributes]
                idle_timeout = "{idle_timeout}"
                [bindings.listen]
                443 = ["127.0.0.1:0"]
                [[target_groups]]
                name = "web"
                targets = {targets:?}
                health_check = {{ path = "/check" }}
                attributes = {{ deregistration_delay = "1s" }}
                {}
                [[listeners]]
                port = 443
                protocol = "https"
                certificates = [{certificate}]
                default_action = {{ forward = "web" }}
                {rules}
            "#,
            plain.unwrap_or_default()
        )
    }
}

const EXTRA_RULE: &str = r#"
    [[listeners.rules]]
    conditions = [{ path = "/extra" }]
    action = { fixed_response = { status = 299 } }
"#;

/// A client that trusts these certificates.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    address: SocketAddr,
}

impl Client {
    /// Trusts the certificates of these files, and the ones that replace them later.
    pub(super) fn new(address: SocketAddr, certificates: &[CertificateDer<'static>]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { tls: TlsConnector::from(Arc::new(config)), address }
    }

    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>, BoxError> {
        let stream = TcpStream::connect(self.address).await?;
        Ok(self.tls.connect(ServerName::try_from("a.test")?, stream).await?)
    }

    /// Returns the certificate that a new connection gets. One that resumes a session gets none: the
    /// client remembers that of the session.
    async fn certificate(&self) -> CertificateDer<'static> {
        let mut config = ClientConfig::clone(self.tls.config());
        config.resumption = Resumption::disabled();
        let client = Self { tls: TlsConnector::from(Arc::new(config)), ..*self };
        let stream = client.connect().await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub(super) async fn http2(&self) -> Result<SendRequest<Empty<Bytes>>, BoxError> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends one request on a connection of its own.
    async fn status(&self, path: &str) -> u16 {
        get(&mut self.http2().await.unwrap(), path).await.unwrap()
    }
}

pub(super) async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
) -> Result<u16, BoxError> {
    let request = Request::get(format!("https://a.test{path}")).body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}

/// Clients that send requests until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    tasks: JoinSet<Vec<String>>,
}

impl Load {
    /// Starts eight clients. Half of them keep a connection, half have one for each request.
    fn start(client: &Client) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let (client, stop, sent) = (client.clone(), Arc::clone(&stop), Arc::clone(&sent));
            let per_connection = if task % 2 == 0 { u32::MAX } else { 1 };
            tasks.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Relaxed) && failures.len() < 20 {
                    if let Err(error) = requests(&client, per_connection, &stop, &sent).await {
                        failures.push(format!("{error}: {:?}", error.source()));
                    }
                }
                failures
            });
        }
        Self { stop, sent, tasks }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Waits until each client is likely to have sent some requests.
    async fn go_on(&self) {
        let before = self.sent();
        sleep(Duration::from_millis(300)).await;
        until("the load goes on", || self.sent() > before + 20).await;
    }

    /// Ends it, and asserts that all requests have succeeded.
    async fn end(mut self) -> u64 {
        self.stop.store(true, Relaxed);
        while let Some(failures) = self.tasks.join_next().await {
            let failures = failures.unwrap();
            assert!(failures.is_empty(), "of {} requests: {failures:#?}", self.sent());
        }
        self.sent()
    }
}

async fn requests(
    client: &Client,
    count: u32,
    stop: &AtomicBool,
    sent: &AtomicU64,
) -> Result<(), BoxError> {
    let mut sender = client.http2().await?;
    for _ in 0..count {
        // A connection that the server has said farewell to is no failure.
        if stop.load(Relaxed) || sender.ready().await.is_err() {
            break;
        }
        match get(&mut sender, "/").await {
            Ok(200) => _ = sent.fetch_add(1, Relaxed),
            Ok(status) => return Err(format!("status {status}").into()),
            Err(error) if is_farewell(&*error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns whether the server has announced the end of the connection before it has read the request.
/// The test counts whether it has told the truth.
fn is_farewell(error: &(dyn std::error::Error + 'static)) -> bool {
    // hyper was ready, and then has not sent it, or HTTP/2 says that it was not processed.
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
        || error.source().is_some_and(|source| format!("{source:?}").contains("NO_ERROR, Remote"))
}

pub(super) fn read(directory: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(directory.join("a.test.pem")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_all_parts_change() {
    let backends = [Backend::good().await, Backend::good().await, Backend::good().await];
    let [a, b, c] = &backends;
    let directory = directory("reload");
    let mut setup = Setup::new(&directory, &[a, b]);
    let old = read(&directory);
    // The next one waits in another directory.
    let next = super::running::directory("reload-next");
    certificate(&next, "a.test");
    let new = read(&next);

    let running = Running::start(&setup.text());
    let client = Client::new(running.at(443), &[old.clone(), new.clone()]);
    let load = Load::start(&client);
    load.go_on().await;

    // Rules.
    assert_eq!(client.status("/extra").await, 200);
    setup.rules = EXTRA_RULE;
    running.balancer.reload(checked(&setup.text())).unwrap();
    assert_eq!(client.status("/extra").await, 299);
    load.go_on().await;

    // Certificates: other content of the same files.
    assert_eq!(client.certificate().await, old);
    for file in ["a.test.pem", "a.test.key"] {
        std::fs::copy(next.join(file), directory.join(file)).unwrap();
    }
    running.balancer.reload(checked(&setup.text())).unwrap();
    assert_eq!(client.certificate().await, new);
    load.go_on().await;

    // Targets: one leaves, another one comes.
    setup.targets = vec![b.address, c.address];
    running.balancer.reload(checked(&setup.text())).unwrap();
    load.go_on().await;
    assert!(c.served() > 0);
    let left = a.served();
    load.go_on().await;
    assert_eq!(a.served(), left, "it has left");

    // An attribute that the connections depend on: the listener starts anew on the same socket.
    setup.idle_timeout = "30s";
    running.balancer.reload(checked(&setup.text())).unwrap();
    load.go_on().await;
    setup.idle_timeout = "60s";
    running.balancer.reload(checked(&setup.text())).unwrap();
    load.go_on().await;

    // A listener comes and goes.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    setup.plain = Some(port);
    running.balancer.reload(checked(&setup.text())).unwrap();
    let plain = SocketAddr::from(([127, 0, 0, 1], port));
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(exchange(plain, get).await.status, 200);
    load.go_on().await;
    setup.plain = None;
    running.balancer.reload(checked(&setup.text())).unwrap();
    until("the socket is closed", || is_closed(plain)).await;
    load.go_on().await;

    let sent = load.end().await;
    println!("{sent} requests, none failed");
    // None was served twice, or to a client that was told otherwise. Two were sent by this test.
    let served: u64 = backends.iter().map(Backend::served).sum();
    assert_eq!(served, sent + 2);
    let status = running.balancer.status();
    let [.., own_errors] = status.listeners[0].responses.own;
    assert_eq!(own_errors, 0, "{status:?}");
}

/// The listeners of these tests answer by themselves.
fn fixed(listeners: &[(u16, u16)], bindings: &str) -> tower_lb::alb::config::Checked {
    let listener = |(port, status): &(u16, u16)| {
        format!(
            "[[listeners]]\nport = {port}\naddresses = [\"127.0.0.1\"]\n\
             default_action = {{ fixed_response = {{ status = {status} }} }}\n"
        )
    };
    let listeners: String = listeners.iter().map(listener).collect();
    checked(&format!("{listeners}[bindings.listen]\n{bindings}\n"))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A socket that nothing accepts from would let a connection wait.
fn is_closed(address: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err()
}

async fn status_at(address: SocketAddr) -> u16 {
    exchange(address, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.status
}

/// The runtime of this test has one thread, so that the server sees several reloads at once.
#[tokio::test]
async fn listeners_may_come_and_go_faster_than_the_server_follows() {
    let stays = free_port();
    let other = free_port();
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let builder = LoadBalancer::builder(fixed(&[(stays, 200)], ""));
    let running = Running::of(builder.crypto_provider(ring::default_provider()));
    assert_eq!(status_at(at(stays)).await, 200);
    let reload = |listeners: &[(u16, u16)]| {
        running.balancer.reload(fixed(listeners, "")).unwrap_or_else(|error| panic!("{error}"));
    };

    reload(&[(stays, 200), (other, 201)]);
    reload(&[(stays, 200)]);
    until("its socket is closed", || is_closed(at(other))).await;
    reload(&[(stays, 200), (other, 201)]);
    reload(&[(stays, 200)]);
    reload(&[(stays, 200), (other, 202)]);
    assert_eq!(status_at(at(other)).await, 202);
    // The server still has the listener that has left.
    reload(&[(stays, 200)]);
    reload(&[(stays, 200), (other, 203)]);
    assert_eq!(status_at(at(other)).await, 203);
    assert_eq!(status_at(at(stays)).await, 200);
}

#[tokio::test]
async fn a_listener_may_get_and_lose_an_address() {
    let port = free_port();
    let [first, second] = [1, 2].map(|host| SocketAddr::from(([127, 0, 0, host], port)));
    if std::net::TcpListener::bind(second).is_err() {
        println!("skipped: 127.0.0.2 is no address of this machine");
        return;
    }
    let one = format!("{port} = [\"{first}\"]");
    let both = format!("{port} = [\"{second}\", \"{first}\"]");
    let builder = LoadBalancer::builder(fixed(&[(port, 200)], &one));
    let running = Running::of(builder.crypto_provider(ring::default_provider()));
    assert_eq!(status_at(first).await, 200);
    for _ in 0..3 {
        running.balancer.reload(fixed(&[(port, 201)], &both)).unwrap();
        for _ in 0..20 {
            assert_eq!(status_at(first).await, 201);
            assert_eq!(status_at(second).await, 201);
        }
        running.balancer.reload(fixed(&[(port, 202)], &one)).unwrap();
        for _ in 0..20 {
            assert_eq!(status_at(first).await, 202);
        }
        until("the other socket is closed", || is_closed(second)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_refused_and_the_old_one_serves_on() {
    let backend = Backend::good().await;
    let directory = directory("reload-bad");
    let setup = Setup::new(&directory, &[&backend]);
    let running = Running::start(&setup.text());
    let client = Client::new(running.at(443), &[read(&directory)]);
    let load = Load::start(&client);
    load.go_on().await;

    let duplicate = r#"
        [[listeners.rules]]
        priority = 7
        action = { fixed_response = { status = 299 } }
        [[listeners.rules]]
        priority = 7
        action = { forward = "nowhere" }
    "#;
    let text = Setup { rules: duplicate, ..setup.clone() }.text();
    let problems = Check::new().check(&Config::from_toml(&text).unwrap()).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path().to_owned()).collect();
    for path in ["listeners.443.rules.7.priority", "listeners.443.rules.7.action"] {
        assert!(paths.iter().any(|problem| problem.starts_with(path)), "{paths:?}");
    }

    let refused = |setup: &Setup, path: &str| {
        let problems = running.balancer.reload(checked(&setup.text())).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path().to_owned()).collect();
        assert!(paths.iter().any(|problem| problem.starts_with(path)), "{problems}");
        problems.to_string()
    };
    let missing = "{ certificate = \"/missing.pem\", key = \"/missing.key\" }";
    let mut bad = Setup { certificate: missing.into(), rules: EXTRA_RULE, ..setup.clone() };
    let text = refused(&bad, "listeners.443.certificates[0]");
    assert!(text.contains("/missing.pem"), "{text}");
    // A key that is not that of the certificate.
    let other = super::running::directory("reload-other");
    let (_, other_key) = certificate(&other, "a.test");
    let cert = directory.join("a.test.pem");
    bad.certificate =
        format!("{{ certificate = \"{}\", key = \"{}\" }}", cert.display(), other_key.display());
    refused(&bad, "listeners.443.certificates");
    // An address that another program has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let taken = Setup { plain: Some(port), rules: EXTRA_RULE, ..setup.clone() };
    refused(&taken, &format!("listeners.{port}.addresses"));

    assert_eq!(client.status("/extra").await, 200, "nothing has changed");
    load.go_on().await;
    load.end().await;
}

#[tokio::test]
async fn a_load_balancer_serves_once() {
    let text = super::running::forwarding(&crate::target_group::backend::Backend::good().await);
    let balancer = super::running::builder(&text).build().unwrap();
    let server = balancer.bind().unwrap();
    assert!(balancer.bind().unwrap_err().to_string().contains("once at a time"));
    drop(server);
    let server = balancer.bind().unwrap();
    server.serve(std::future::ready(()), Duration::ZERO).await;
    assert!(balancer.bind().unwrap_err().to_string().contains("has not served"));
    let reloaded = balancer.reload(super::running::checked(&text));
    assert!(reloaded.unwrap_err().to_string().contains("has not been stopped"));
}

/// A certificate that has expired while it was served does not keep a reload from changing the rest.
#[tokio::test]
async fn an_expired_certificate_does_not_block_a_reload() {
    let backend = Backend::good().await;
    let directory = directory("reload-expired");
    let mut setup = Setup::new(&directory, &[&backend]);
    let issue = |seconds| {
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + Duration::from_secs(seconds);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.join("a.test.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("a.test.key"), key.serialize_pem()).unwrap();
    };
    issue(2);
    let running = Running::start(&setup.text());
    sleep(Duration::from_secs(4)).await;
    setup.rules = EXTRA_RULE;
    running.balancer.reload(checked(&setup.text())).unwrap();
    // Another that has expired is refused.
    issue(0);
    sleep(Duration::from_secs(2)).await;
    let error = running.balancer.reload(checked(&setup.text())).unwrap_err().to_string();
    assert!(
        error.contains("listeners.443.certificates[0]") && error.contains("expired"),
        "{error}"
    );
}
