//! The pooled client over TLS: beside rustls servers in this process, and nginx.

use std::{
    convert::Infallible,
    error::Error as _,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_lb::{
    health::{Check, HttpCheck},
    http::{Client, ClientError, ClientErrorKind, HostHeader, Origin, Pool, Tls},
};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A certificate authority.
struct Ca {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // The subject is the name by which an issuer is found, so each has its own.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("CA {:?}", &key.public_key_raw()[1..9]));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        Issued { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    fn tls(&self) -> Tls {
        Tls::builder().roots(self.roots()).crypto_provider(provider()).build().unwrap()
    }
}

impl Issued {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.der().clone()]
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}

/// Serves over TLS; answers with the version, the host, and whether the client has a certificate.
async fn serve(issued: &Issued, protocols: &[&str], clients: Option<&Ca>) -> SocketAddr {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(ca) => {
            let roots = Arc::new(ca.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(issued.chain(), issued.private_key()).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let has_certificate = stream.get_ref().1.peer_certificates().is_some();
                let service = service_fn(move |request: Request<Incoming>| async move {
                    if request.headers().contains_key("upgrade") {
                        let switching = StatusCode::SWITCHING_PROTOCOLS;
                        let response = Response::builder()
                            .status(switching)
                            .header("connection", "upgrade")
                            .header("upgrade", "websocket");
                        return Ok(response.body(Full::default()).unwrap());
                    }
                    let host = request.uri().authority().map(ToString::to_string);
                    let host = host
                        .unwrap_or_else(|| request.headers()["host"].to_str().unwrap().to_owned());
                    let text = format!("{:?} {host} {has_certificate}", request.version());
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ = server.serve_connection_with_upgrades(io, service).await;
            });
        }
    });
    address
}

fn shop(address: SocketAddr) -> Origin {
    "https://shop.internal".parse::<Origin>().unwrap().at(address)
}

async fn fetch(client: &Client<Empty<Bytes>>) -> Result<String, ClientError> {
    let response = client.clone().oneshot(Request::get("/").body(Empty::new()).unwrap()).await?;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_endpoint_selects_the_protocol_and_the_name_is_verified() {
    let ca = Ca::new();
    let issued = ca.issue("shop.internal");
    for (protocols, pool, expected) in [
        (&["h2", "http/1.1"][..], Pool::new(), Ok("HTTP/2.0")),
        (&["http/1.1"], Pool::new(), Ok("HTTP/1.1")),
        (&[], Pool::new(), Ok("HTTP/1.1")),
        (&["h2", "http/1.1"], Pool::new().http1(), Ok("HTTP/1.1")),
        (&["h2"], Pool::new().http2(), Ok("HTTP/2.0")),
        (&["http/1.1"], Pool::new().http2(), Err(ClientErrorKind::Tls)),
        (&[], Pool::new().http2(), Err(ClientErrorKind::Tls)),
    ] {
        let address = serve(&issued, protocols, None).await;
        let pool = pool.tls(ca.tls()).host_header(HostHeader::Endpoint);
        let client = pool.client(shop(address));
        for _ in 0..3 {
            let found = fetch(&client).await.map_err(|error| error.kind());
            assert_eq!(found, expected.map(|version| format!("{version} shop.internal false")));
        }
    }
}

#[tokio::test]
async fn a_handshake_that_fails_differs_from_a_refused_connection() {
    let (ca, other) = (Ca::new(), Ca::new());
    let address = serve(&ca.issue("shop.internal"), &[], None).await;
    let kind = async |tls: Option<Tls>, origin: Origin| {
        let pool = Pool::new().connect_timeout(Duration::from_millis(500));
        let pool = tls.into_iter().fold(pool, Pool::tls);
        fetch(&pool.client(origin)).await.unwrap_err()
    };
    let untrusted = kind(Some(other.tls()), shop(address)).await;
    assert_eq!(untrusted.kind(), ClientErrorKind::Tls);
    assert!(untrusted.source().unwrap().to_string().contains("UnknownIssuer"), "{untrusted:?}");
    let misnamed = kind(Some(ca.tls()), format!("https://{address}").parse().unwrap()).await;
    assert_eq!(misnamed.kind(), ClientErrorKind::Tls);
    let unset = kind(None, shop(address)).await;
    assert_eq!(unset.kind(), ClientErrorKind::Tls);
    assert!(unset.source().unwrap().to_string().contains("Pool::tls"));

    // A server without TLS, and one that says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    assert_eq!(kind(Some(ca.tls()), shop(silent)).await.kind(), ClientErrorKind::Tls);
    let (_socket, refuses) = crate::refusing();
    assert_eq!(kind(Some(ca.tls()), shop(refuses)).await.kind(), ClientErrorKind::Connect);
}

/// Otherwise each request that waits would wait for an attempt of its own, one after the other.
#[tokio::test]
async fn a_connection_that_hangs_fails_all_who_wait_for_it() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let timeout = Duration::from_millis(300);
    let pool = Pool::new().tls(Ca::new().tls()).connect_timeout(timeout);
    let client =
        pool.max_connections(1.try_into().unwrap()).client(shop(silent.local_addr().unwrap()));
    let requests = (0..5).map(|_| fetch(&client));
    let ended = tokio::time::timeout(2 * timeout, futures::future::join_all(requests)).await;
    for result in ended.expect("one attempt after the other") {
        let kind = result.unwrap_err().kind();
        assert!(matches!(kind, ClientErrorKind::Tls | ClientErrorKind::Connect), "{kind:?}");
    }
}

#[tokio::test]
async fn an_address_is_verified_if_it_is_the_name() {
    let ca = Ca::new();
    let address = serve(&ca.issue("127.0.0.1"), &[], None).await;
    let origin: Origin = format!("https://{address}").parse().unwrap();
    let client = Pool::new().tls(ca.tls()).client(origin);
    assert_eq!(fetch(&client).await.unwrap(), format!("HTTP/1.1 {address} false"));
}

#[tokio::test]
async fn client_certificates_are_shown_and_replaced_for_new_connections() {
    let ca = Ca::new();
    let address = serve(&ca.issue("shop.internal"), &["h2"], Some(&ca)).await;
    let builder = || Tls::builder().roots(ca.roots()).crypto_provider(provider());
    let own = ca.issue("client.internal");
    let with_certificate =
        builder().client_certificate(own.chain(), own.private_key()).build().unwrap();
    let tls = builder().build().unwrap();
    let pool = Pool::new().tls(tls.clone());
    let before = pool.client(shop(address));
    assert_eq!(fetch(&before).await.unwrap(), "HTTP/2.0 shop.internal false");
    tls.replace(&with_certificate);
    assert_eq!(fetch(&before).await.unwrap(), "HTTP/2.0 shop.internal false", "kept");
    let after = pool.client(shop(address));
    assert_eq!(fetch(&after).await.unwrap(), "HTTP/2.0 shop.internal true");
}

#[test]
fn a_configuration_that_cannot_work_names_its_field() {
    let (ca, builder) = (Ca::new(), || Tls::builder().crypto_provider(provider()));
    let (one, other) = (ca.issue("one"), ca.issue("other"));
    let mixed = builder().roots(ca.roots()).client_certificate(one.chain(), other.private_key());
    assert_eq!(mixed.build().unwrap_err().field(), "client_certificate");
    if CryptoProvider::get_default().is_none() {
        assert_eq!(Tls::builder().build().unwrap_err().field(), "crypto_provider");
    }
}

#[tokio::test]
async fn an_upgrade_uses_http1_where_the_endpoint_has_both() {
    let ca = Ca::new();
    let address = serve(&ca.issue("shop.internal"), &["h2", "http/1.1"], None).await;
    let client = Pool::new().tls(ca.tls()).client::<Empty<Bytes>>(shop(address));
    assert!(fetch(&client).await.unwrap().starts_with("HTTP/2.0"));
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "websocket");
    let response = client.clone().oneshot(request.body(Empty::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.version(), Version::HTTP_11);
    assert!(fetch(&client).await.unwrap().starts_with("HTTP/2.0"));
}

#[tokio::test]
async fn health_checks_use_the_same_connections() {
    let ca = Ca::new();
    let address = serve(&ca.issue("shop.internal"), &["h2"], None).await;
    let client = Pool::new().tls(ca.tls()).client::<Empty<Bytes>>(shop(address));
    let check = HttpCheck::get("/healthz").unwrap();
    let host = HeaderValue::from_static("shop.internal");
    check.host(host).check(client).await.unwrap();
}

/// nginx in a directory of its own.
struct Nginx {
    process: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Nginx {
    /// Returns `None` if nginx is not installed.
    async fn start(name: &str, ca: &Ca, issued: &Issued) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let ca = pem("CERTIFICATE", &ca.certificate);
        fs::write(directory.join("ca.pem"), ca).unwrap();
        fs::write(directory.join("cert.pem"), issued.certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), issued.key.serialize_pem()).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr crit;
             events {{}}
             http {{
                 access_log off; client_body_temp_path body; proxy_temp_path proxy;
                 fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 server {{
                     listen {address} ssl http2; server_name shop.internal;
                     ssl_certificate cert.pem; ssl_certificate_key key.pem;
                     ssl_client_certificate ca.pem; ssl_verify_client optional;
                     keepalive_requests 10;
                     location / {{
                         return 200 \"$server_protocol $host $ssl_server_name $ssl_client_verify\";
                     }}
                 }}
             }}"
        );
        fs::write(directory.join("nginx.conf"), config).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(&directory)
            .args(["-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            println!("skipped: nginx is not installed");
            return None;
        };
        let this = Self { process, directory, address };
        for _ in 0..200 {
            if TcpStream::connect(address).await.is_ok() {
                return Some(this);
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx does not listen");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// nginx ends a connection after 10 requests: by GOAWAY, or by `Connection: close`.
#[tokio::test]
async fn nginx_gets_one_host_on_both_versions_and_may_end_connections() {
    let ca = Ca::new();
    let issued = ca.issue("shop.internal");
    let Some(nginx) = Nginx::start("tower-lb-pool-tls", &ca, &issued).await else { return };
    let own = ca.issue("client.internal");
    let tls = Tls::builder()
        .roots(ca.roots())
        .crypto_provider(provider())
        .client_certificate(own.chain(), own.private_key())
        .build()
        .unwrap();
    for (pool, version) in [(Pool::new(), "HTTP/2.0"), (Pool::new().http1(), "HTTP/1.1")] {
        let client = pool.tls(tls.clone()).client::<Empty<Bytes>>(shop(nginx.address));
        for _ in 0..3 {
            let calls = (0..25).map(|_| async {
                let request = Request::get("/").header("host", "public.example");
                let request = request.body(Empty::new()).unwrap();
                // A new gateway would repeat what nginx has not processed, as `RetryOn` does.
                loop {
                    match client.clone().oneshot(request.clone()).await {
                        Ok(response) => break response.into_body().collect().await.unwrap(),
                        Err(error) => assert_eq!(error.kind(), ClientErrorKind::Unsent),
                    }
                }
            });
            for body in futures::future::join_all(calls).await {
                let expected = format!("{version} public.example shop.internal SUCCESS");
                assert_eq!(body.to_bytes(), expected);
            }
        }
    }
}

/// A server of another TLS library that asks for a certificate and gets none.
#[tokio::test]
async fn openssl_refuses_a_client_without_a_certificate() {
    // With TLS 1.3 the client learns it only when it reads the response.
    for version in ["-tls1_2", "-tls1_3"] {
        refuses_without_a_certificate(version).await;
    }
}

async fn refuses_without_a_certificate(version: &str) {
    let ca = Ca::new();
    let issued = ca.issue("shop.internal");
    let directory =
        std::env::temp_dir().join(format!("tower-lb-openssl{version}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("cert.pem"), issued.certificate.pem()).unwrap();
    fs::write(directory.join("key.pem"), issued.key.serialize_pem()).unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = tokio::process::Command::new("openssl")
        .current_dir(&directory)
        .args(["s_server", "-quiet", "-www", "-Verify", "1", version])
        .args(["-cert", "cert.pem", "-key", "key.pem", "-accept", &address.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut server) = server else { return println!("skipped: openssl is not installed") };
    let mut output = server.stdout.take().unwrap();
    let client = Pool::new().tls(ca.tls()).client(shop(address));
    for _ in 0..200 {
        let error = fetch(&client).await.unwrap_err();
        if error.kind() != ClientErrorKind::Connect {
            assert_eq!(error.kind(), ClientErrorKind::Tls, "{error:?}");
            let _ = fs::remove_dir_all(&directory);
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    server.kill().await.unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).await.unwrap();
    panic!("openssl does not listen: {text}");
}
