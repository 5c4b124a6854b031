//! Figures, by hand: `cargo test --release -p tower-lb-alb-tests --test listener measure -- --ignored --nocapture`.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring::Ticketer,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsConnector;
use tower_lb::listener::tls::{ClientAuth, Resumption, ServerTls, TrustStore};

use super::authority::{Authority, Issued, Validity, certificates, distinguished, provider};

fn connector(authority: &Authority, client: Option<&Issued>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.bundle).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = vec![CertificateDer::from_pem_file(&client.cert).unwrap()];
            let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&client.key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// Handshakes in memory, of which the time of the server alone is taken: one core does nothing else.
#[test]
#[ignore = "measures"]
fn handshakes_per_second() {
    let authority = Authority::new("measure");
    let ecdsa = authority.issue("ecdsa", &["shop.example"]);
    let rsa = authority.issue_rsa("rsa", &["shop.example"]).expect("openssl");
    let name = distinguished(&[(rcgen::DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 1, Validity::Now);
    let store = TrustStore::builder().bundle_file(&authority.bundle).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (what, issued, auth, resumption) in [
        ("ECDSA P-256, full", &ecdsa, ClientAuth::Off, Resumption::off()),
        ("RSA 2048, full", &rsa, ClientAuth::Off, Resumption::off()),
        (
            "ECDSA P-256, resumed by ticket",
            &ecdsa,
            ClientAuth::Off,
            Resumption::tickets(Ticketer::new),
        ),
        ("ECDSA P-256, resumed by cache", &ecdsa, ClientAuth::Off, Resumption::cache(1 << 14)),
        ("ECDSA P-256, mTLS, full", &ecdsa, ClientAuth::Verify(store.clone()), Resumption::off()),
        (
            "ECDSA P-256, mTLS, resumed by ticket",
            &ecdsa,
            ClientAuth::Verify(store),
            Resumption::tickets(Ticketer::new),
        ),
    ] {
        let is_resuming = what.contains("resumed");
        let certificates = certificates().default_certificate(issued.files()).build().unwrap();
        let presents = matches!(auth, ClientAuth::Verify(_)).then_some(&client);
        let tls = ServerTls::builder(certificates)
            .client_auth(auth)
            .resumption(resumption)
            .build()
            .unwrap();
        let mut config = connector(&authority, presents);
        if !is_resuming {
            config.resumption = rustls::client::Resumption::disabled();
        }
        let connector = TlsConnector::from(Arc::new(config));
        let count = 3000;
        let spent = runtime.block_on(async {
            let mut spent = Duration::ZERO;
            for number in 0..count + 10 {
                let (near, far) = tokio::io::duplex(1 << 16);
                let connector = connector.clone();
                let client = tokio::spawn(async move {
                    let name = ServerName::try_from("shop.example").unwrap();
                    let mut stream = connector.connect(name, near).await.unwrap();
                    // The tickets arrive after the handshake.
                    let _ = stream.read(&mut [0]).await;
                });
                let timed = Timed { future: Box::pin(tls.accept(far)), spent: Duration::ZERO };
                let (accepted, time) = timed.await;
                let (stream, details) = accepted.unwrap();
                assert_eq!(details.is_resumed(), is_resuming && number > 0, "{what}");
                if number >= 10 {
                    spent += time;
                }
                drop(stream);
                client.await.unwrap();
            }
            spent
        });
        println!("{what}: {:.0} handshakes/s on one core", f64::from(count) / spent.as_secs_f64());
    }
}

/// A future, and the time that its polls take.
struct Timed<F> {
    future: std::pin::Pin<Box<F>>,
    spent: Duration,
}

impl<F: Future> Future for Timed<F> {
    type Output = (F::Output, Duration);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let start = Instant::now();
        let polled = self.future.as_mut().poll(cx);
        self.spent += start.elapsed();
        polled.map(|output| (output, self.spent))
    }
}

/// The memory of connections that do nothing, without that of their clients, which are in a process
/// of their own.
#[test]
#[ignore = "measures"]
fn memory_of_idle_connections() {
    const CONNECTIONS: usize = 2000;
    let authority = Authority::new("memory");
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    let tls = ServerTls::builder(certificates).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // This test again, as the client.
        let clients = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::measure::idle_clients", "--ignored", "--nocapture"])
            .env("TLS_MEASURE", format!("{address} {CONNECTIONS} {}", authority.bundle.display()))
            .spawn()
            .unwrap();
        let mut held = Vec::with_capacity(CONNECTIONS);
        let mut before = 0;
        for number in 0..CONNECTIONS + 100 {
            let (socket, _) = listener.accept().await.unwrap();
            held.push(tls.accept(socket).await.unwrap());
            if number == 99 {
                before = resident_kilobytes();
            }
        }
        sleep(Duration::from_millis(500)).await;
        let each = (resident_kilobytes() - before) as f64 / CONNECTIONS as f64;
        println!(
            "{each:.1} KB each of {CONNECTIONS} idle connections, with their sessions in the cache"
        );
        let mut clients = clients;
        clients.kill().unwrap();
        clients.wait().unwrap();
        drop(held);
    });
}

/// Not a test, but the clients of the one above.
#[test]
#[ignore = "measures"]
fn idle_clients() {
    let Ok(arguments) = std::env::var("TLS_MEASURE") else { return };
    let mut arguments = arguments.split(' ');
    let address: std::net::SocketAddr = arguments.next().unwrap().parse().unwrap();
    let connections: usize = arguments.next().unwrap().parse().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(arguments.next().unwrap()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    let connector = TlsConnector::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..connections + 100 {
            let socket = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("shop.example").unwrap();
            held.push(connector.connect(name, socket).await.unwrap());
        }
        sleep(Duration::from_secs(60)).await;
    });
}

fn resident_kilobytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
