use std::{
    process::Command,
    sync::{Arc, OnceLock},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;
use tower_lb::{
    clb::ClassicProtocol,
    http::{Tls, sticky::SessionKey},
    listener::tls::{Certificate, Certificates, ServerTls},
};

use crate::{
    balancer::{Clb, before, listener, quick, soon, status},
    instance::{free_port, instances, served_by},
    target::Target,
    tools::{is_installed, output},
};

struct Pki {
    chain: String,
    key: String,
    server: Arc<ServerConfig>,
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let names = ["shop.example", "127.0.0.1"].map(String::from);
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, der)
            .unwrap();
        let (chain, key) = (certificate.pem(), key.serialize_pem());
        Pki { chain, key, server: Arc::new(server) }
    })
}

pub(crate) fn files() -> (&'static str, &'static str) {
    (&pki().chain, &pki().key)
}

pub(crate) fn server_tls() -> ServerTls {
    let certificates = Certificates::builder()
        .default_certificate(Certificate::pem(files().0, files().1))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .unwrap();
    ServerTls::builder(certificates).build().unwrap()
}

pub(crate) fn unverified() -> Tls {
    let provider = Arc::new(ring::default_provider());
    Tls::builder().without_verification().crypto_provider(provider).build().unwrap()
}

/// Speaks TLS, and says `name` to each client.
async fn encrypted(port: u16, name: &'static str) -> Target {
    let acceptor = TlsAcceptor::from(Arc::clone(&pki().server));
    Target::at(([127, 0, 0, 1], port).into(), move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            crate::instance::serve(&crate::instance::State::named(name), &mut stream).await;
        }
    })
    .await
}

fn curl(address: std::net::SocketAddr) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-k", "-i", "--max-time", "10"]);
    curl.arg(format!("https://{address}/"));
    curl
}

#[tokio::test(flavor = "multi_thread")]
async fn https_in_front_and_either_behind() {
    if !is_installed("curl", "--version") {
        return;
    }
    let [a] = instances(["plain"]).await;
    let port = free_port().await;
    let _b = encrypted(port, "secured").await;
    let key = SessionKey::new([7; 32]).unwrap();
    let cookies = tower_lb::clb::CookiePolicy::browser_session(key);
    let https = |port| listener(ClassicProtocol::Https, port).tls(server_tls());
    let clb = before(&[&a])
        .listener(https(a.port()).instance_protocol(ClassicProtocol::Http).cookies(cookies))
        .listener(https(port))
        .listener(listener(ClassicProtocol::Http, port).instance_protocol(ClassicProtocol::Https))
        .health_check(quick(&format!("HTTPS:{port}/health")))
        .instance_tls(unverified());
    let clb = Clb::ready(clb, 1).await;
    let plain = output(curl(clb.addresses[0])).await;
    assert!(plain.starts_with("HTTP/1.1 200"), "only HTTP/1.1 is offered: {plain}");
    assert_eq!(served_by(&plain), "plain");
    assert!(plain.to_lowercase().contains("x-forwarded-proto: https"), "{plain}");
    let copy = plain.lines().find(|line| line.contains("AWSELBCORS=")).unwrap();
    assert!(copy.contains("SameSite=None") && copy.contains("Secure"), "{copy}");
    assert_eq!(served_by(&output(curl(clb.addresses[1])).await), "secured");
    assert_eq!(served_by(&clb.get_from(2, "/", "").await), "secured");
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_in_front_and_either_behind() {
    if !is_installed("openssl", "version") {
        return;
    }
    let [a] = instances(["plain"]).await;
    let port = free_port().await;
    let _b = encrypted(port, "secured").await;
    let ssl = |port| listener(ClassicProtocol::Ssl, port).tls(server_tls());
    let clb = before(&[&a])
        .listener(ssl(a.port()).instance_protocol(ClassicProtocol::Tcp))
        .listener(ssl(port))
        .listener(listener(ClassicProtocol::Tcp, port).instance_protocol(ClassicProtocol::Ssl))
        .health_check(quick(&format!("SSL:{port}")))
        .instance_tls(unverified());
    let clb = Clb::ready(clb, 1).await;
    for (index, name) in ["plain", "secured"].into_iter().enumerate() {
        let mut shell = Command::new("sh");
        let script = format!(
            "(printf 'GET / HTTP/1.0\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | \
             timeout 10 openssl s_client -quiet -connect {} -servername shop.example 2>&1",
            clb.addresses[index]
        );
        shell.args(["-c", &script]);
        let answer = output(shell).await;
        assert_eq!(served_by(&answer), name);
    }
    // Without TLS in front, an instance with TLS.
    assert_eq!(served_by(&clb.get_from(2, "/", "").await), "secured");
}

/// A client of the wrong kind fails alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_is_refused() {
    let [a] = instances(["a"]).await;
    let https = listener(ClassicProtocol::Https, a.port())
        .tls(server_tls())
        .instance_protocol(ClassicProtocol::Http);
    let clb = before(&[&a]).listener(https).listener(listener(ClassicProtocol::Http, a.port()));
    let clb = Clb::ready(clb, 1).await;
    let mut client = clb.connect(0).await;
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut client, &mut bytes)).await;
    assert!(!String::from_utf8_lossy(&bytes).contains("HTTP/1.1 200"));
    assert_eq!(clb.handle.status().listeners[0].connections.refused.handshake, 1);
    assert_eq!(status(&clb.get_from(1, "/", "").await), 200);
    assert_eq!(a.requests(), 1);
}

/// A certificate that is verified, and does not fit.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_trusted() {
    let [a] = instances(["a"]).await;
    let port = free_port().await;
    let _b = encrypted(port, "secured").await;
    let provider = Arc::new(ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    let other = KeyPair::generate().unwrap();
    let other = CertificateParams::new(vec!["other".to_owned()]).unwrap().self_signed(&other);
    roots.add(other.unwrap().der().clone()).unwrap();
    let tls = Tls::builder().roots(roots).crypto_provider(provider).build().unwrap();
    let clb = before(&[&a])
        .listener(listener(ClassicProtocol::Http, port).instance_protocol(ClassicProtocol::Https))
        .listener(listener(ClassicProtocol::Tcp, port).instance_protocol(ClassicProtocol::Ssl))
        .instance_tls(tls);
    let clb = Clb::ready(clb, 1).await;
    assert_eq!(status(&clb.get("/").await), 502);
    let mut client = clb.connect(1).await;
    let end = soon(tokio::io::AsyncReadExt::read(&mut client, &mut [0; 8])).await;
    assert!(end.is_err(), "reset: {end:?}");
    let failed = clb.handle.status().listeners[1].relays.as_ref().unwrap().failed;
    assert!(failed.tls >= 1, "{failed:?}");
}
