use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tower::Layer;
use tower_lb::{
    listener::{
        ConnectionInfo, Drained, Listener, ProxyProtocol, Socket,
        tls::{Certificate, Certificates, Resumption, ServerTls},
    },
    tcp::{ByServerName, ReadHelloLayer, Relays, RelaysBuilder, SendProxy, TargetTls},
};

use crate::{
    nlb::{Nlb, balancer, loopback, serve, soon},
    target::{Target, assert_reset, read, read_all},
    tools::{Directory, is_installed, output},
};

/// A certificate authority, and a certificate for all names of these tests.
struct Pki {
    authority: String,
    chain: String,
    key: String,
    roots: RootCertStore,
    server: Arc<ServerConfig>,
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let names = ["shop.example", "a.shop.example", "other.example", "127.0.0.1"];
        let mut params = CertificateParams::new(names.map(String::from)).unwrap();
        // With the name of its authority, OpenSSL would take it for one.
        params.distinguished_name.push(rcgen::DnType::CommonName, "shop.example");
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, der)
            .unwrap();
        Pki {
            authority: authority.pem(),
            chain: certificate.pem(),
            key: key.serialize_pem(),
            roots,
            server: Arc::new(server),
        }
    })
}

fn client_config() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(pki().roots.clone())
        .with_no_client_auth()
}

/// A target of TLS that says its name and the one it was asked for.
async fn encrypted(name: &'static str) -> Target {
    Target::start(move |stream| async move {
        let acceptor = TlsAcceptor::from(Arc::clone(&pki().server));
        let Ok(mut stream) = acceptor.accept(stream).await else { return };
        let asked = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
        let _ = stream.write_all(format!("{name} for {asked}\n").as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

async fn handshake(stream: TcpStream, name: &str) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(Arc::new(client_config()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(connector.connect(name, stream)).await.unwrap()
}

async fn read_tls(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    soon(stream.read_to_string(&mut text)).await.unwrap();
    text
}

struct Passing {
    nlb: Nlb,
    _targets: [Target; 3],
}

/// Passes TLS through to targets by their names.
async fn passing(hello: ReadHelloLayer) -> Passing {
    let targets = [encrypted("shop").await, encrypted("below").await, Target::echo("plain").await];
    let relays = Relays::builder().build().unwrap();
    let of = |target: &Target| balancer(&relays, &[target.address]);
    let by_name = ByServerName::builder()
        .service("shop.example", of(&targets[0]))
        .service("*.shop.example", of(&targets[1]))
        .default_service(of(&targets[2]))
        .build()
        .unwrap();
    let nlb = serve(loopback(), &relays, hello.layer(by_name));
    Passing { nlb, _targets: targets }
}

#[tokio::test]
async fn tls_is_passed_through_by_its_name() {
    let passing = passing(ReadHelloLayer::new()).await;
    for (name, expected) in [
        ("shop.example", "shop for shop.example\n"),
        ("a.shop.example", "below for a.shop.example\n"),
    ] {
        let mut client = handshake(passing.nlb.connect().await, name).await;
        assert_eq!(read_tls(&mut client).await, expected);
    }
    // What is no hello passes to the default at once, with what was read.
    let mut client = passing.nlb.connect().await;
    client.write_all(b"SSH-2.0\n").await.unwrap();
    assert_eq!(soon(read(&mut client, 13)).await, "plainSSH-2.0\n");
    drop(client);
    passing.nlb.idle().await;
}

/// Each byte of the client's hello is a segment of its own.
#[tokio::test]
async fn a_hello_may_come_in_many_segments() {
    let passing = passing(ReadHelloLayer::new()).await;
    let mut config = client_config();
    config.alpn_protocols = vec![vec![b'x'; 200]; 20];
    let name = ServerName::try_from("shop.example").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    assert!(hello.len() > 4000);

    let mut client = passing.nlb.connect().await;
    client.set_nodelay(true).unwrap();
    for byte in hello.chunks(1) {
        client.write_all(byte).await.unwrap();
    }
    // The target answers with a record of the handshake.
    let mut head = [0; 5];
    soon(client.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[0], 22, "{head:?}");
    drop(client);
    passing.nlb.idle().await;
    assert_eq!(passing.nlb.relays.status().connected, 1);
}

#[tokio::test]
async fn a_hello_that_never_ends_passes_without_a_name() {
    let hello = ReadHelloLayer::new().timeout(Duration::from_millis(200)).unwrap();
    let passing = passing(hello.max_bytes(1000).unwrap()).await;
    // In time, and in length.
    let mut silent = passing.nlb.connect().await;
    assert_eq!(soon(read(&mut silent, 5)).await, "plain");
    let mut partial = passing.nlb.connect().await;
    partial.write_all(&[22, 3, 1, 1]).await.unwrap();
    assert_eq!(soon(read(&mut partial, 5)).await, "plain");
    let mut long = passing.nlb.connect().await;
    long.write_all(&[22, 3, 1, 0x3F, 0xFF, 1, 0, 0x40, 0]).await.unwrap();
    long.write_all(&[0; 2000]).await.unwrap();
    assert_eq!(soon(read(&mut long, 5)).await, "plain");
}

#[tokio::test]
async fn a_name_without_a_service_is_reset() {
    let relays = Relays::builder().build().unwrap();
    let target = encrypted("shop").await;
    let by_name = ByServerName::builder()
        .service("shop.example", balancer(&relays, &[target.address]))
        .build()
        .unwrap();
    let nlb = serve(loopback(), &relays, ReadHelloLayer::new().layer(by_name));
    let mut client = nlb.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    soon(assert_reset(&mut client)).await;
}

fn server_tls(alpn: &[&str]) -> ServerTls {
    let Pki { chain, key, .. } = pki();
    let certificates = Certificates::builder()
        .default_certificate(Certificate::pem(chain.as_bytes(), key.as_bytes()))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .unwrap();
    // A client that closes before it has read its tickets would reset the connection.
    let tls = ServerTls::builder(certificates).resumption(Resumption::off());
    tls.alpn(alpn.iter().copied()).build().unwrap()
}

fn terminating(socket: Socket, relays: RelaysBuilder, target: SocketAddr) -> Nlb {
    let relays = relays.build().unwrap();
    serve(socket, &relays, balancer(&relays, &[target]))
}

#[tokio::test]
async fn tls_is_terminated_and_encrypted_again() {
    let plain = Target::echo("plain").await;
    let nlb = terminating(loopback().tls(server_tls(&[])), Relays::builder(), plain.address);
    let mut client = handshake(nlb.connect().await, "shop.example").await;
    client.write_all(b" text").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_tls(&mut client).await, "plain text");
    nlb.idle().await;
    assert_eq!(nlb.relays.status().ended.closed, 1);

    let target = encrypted("target").await;
    // The name that the client has asked for, a fixed one, and the address.
    for (tls, asked, expected) in [
        (TargetTls::new(client_config()), "shop.example", "target for shop.example\n"),
        (
            TargetTls::new(client_config()).server_name("other.example".try_into().unwrap()),
            "shop.example",
            "target for other.example\n",
        ),
        (TargetTls::new(client_config()), "127.0.0.1", "target for -\n"),
    ] {
        let relays = Relays::builder().tls(tls);
        let nlb = terminating(loopback().tls(server_tls(&[])), relays, target.address);
        let mut client = handshake(nlb.connect().await, asked).await;
        assert_eq!(read_tls(&mut client).await, expected);
    }
}

/// A certificate that is not trusted fails while nothing of the client was sent.
#[tokio::test]
async fn a_target_without_a_trusted_certificate_is_not_connected() {
    let target = encrypted("target").await;
    let tls = TargetTls::new(client_config()).server_name("wrong.example".try_into().unwrap());
    let nlb = terminating(loopback(), Relays::builder().tls(tls), target.address);
    soon(assert_reset(&mut nlb.connect().await)).await;
    assert_eq!(nlb.relays.status().failed.tls, 1);
}

/// Many clients close without the end of TLS. Their last bytes are not lost.
#[tokio::test]
async fn a_client_that_just_closes_has_sent_everything() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let target = Target::start(move |mut stream| {
        let sender = sender.clone();
        async move { sender.send(read_all(&mut stream).await).unwrap() }
    })
    .await;
    let nlb = terminating(loopback().tls(server_tls(&[])), Relays::builder(), target.address);
    let mut client = handshake(nlb.connect().await, "shop.example").await;
    client.write_all(b"the last words").await.unwrap();
    client.flush().await.unwrap();
    sleep(Duration::from_millis(50)).await;
    drop(client);
    assert_eq!(soon(received.recv()).await.unwrap(), "the last words");
}

/// A server of HTTP that shows the PROXY header of its connection, which HAProxy's own tests of the
/// listener have shown to be read rightly.
fn header_reader() -> (SocketAddr, tokio::task::JoinHandle<Drained>) {
    let trusted = ProxyProtocol::trusting(["127.0.0.0/8".parse().unwrap()]).unwrap();
    let socket = loopback().proxy_protocol(trusted);
    let listener = Listener::builder().socket(socket).bind().unwrap();
    let address = listener.local_addresses()[0].tcp().unwrap();
    let show = tower::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let header = request.extensions().get::<ConnectionInfo>().unwrap().proxy_header().unwrap();
        let ssl = header
            .ssl()
            .map(|ssl| (ssl.is_tls(), ssl.is_client_verified(), ssl.version(), ssl.cipher()));
        let alpn = header.alpn().map(String::from_utf8_lossy);
        let text = format!(
            "{:?} {:?} {alpn:?} {ssl:?} {:?}",
            header.source().unwrap(),
            header.authority(),
            header.vpc_endpoint_id()
        );
        Ok::<_, std::convert::Infallible>(http::Response::new(text))
    });
    (address, tokio::spawn(listener.serve(show).drain_limit(Duration::ZERO)))
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn targets_learn_about_the_tls_of_clients() {
    let (reader, _serving) = header_reader();
    let header = Relays::builder().proxy_protocol(SendProxy::v2());
    let nlb = terminating(loopback().tls(server_tls(&["x", "h2"])), header, reader);
    let mut config = client_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("shop.example").unwrap();
    let stream = nlb.connect().await;
    let source = stream.local_addr().unwrap();
    let mut client = connector.connect(name, stream).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let told = read_tls(&mut client).await;
    let ssl = "Some((true, false, Some(\"TLSv1.3\"), Some(\"TLS_AES_256_GCM_SHA384\")))";
    let expected = format!("{source} Some(\"shop.example\") Some(\"h2\") {ssl} None");
    assert!(told.ends_with(&expected), "{told}");
}

#[tokio::test]
async fn what_a_load_balancer_in_front_says_is_passed_on() {
    let (reader, _serving) = header_reader();
    let trusted = ProxyProtocol::trusting(["127.0.0.0/8".parse().unwrap()]).unwrap();
    let header = Relays::builder().proxy_protocol(SendProxy::v2());
    let nlb = terminating(loopback().proxy_protocol(trusted), header, reader);
    let mut client = nlb.connect().await;
    // As AWS's load balancer sends it.
    let rest = [
        &[192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xBB][..],
        b"\xEA\x00\x0F\x01vpce-08d2bf15f",
    ]
    .concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    client.write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11").await.unwrap();
    client.write_all(&[&length[..], &rest].concat()).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let told = soon(read_all(&mut client)).await;
    let expected = "192.0.2.9:4711 None None None Some(\"vpce-08d2bf15f\")";
    assert!(told.ends_with(expected), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_is_served() {
    if !is_installed("openssl", "version") {
        return;
    }
    let directory = Directory::new("tcp-openssl");
    let authority = directory.write("authority.pem", &pki().authority);
    let ask = async |address: SocketAddr, name: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", "-quiet", "-verify_return_error", "-connect"]);
        openssl.arg(address.to_string()).args(["-servername", name, "-CAfile"]).arg(&authority);
        soon(output(openssl)).await
    };
    let passing = passing(ReadHelloLayer::new()).await;
    let told = ask(passing.nlb.address, "a.shop.example").await;
    assert!(told.contains("below for a.shop.example"), "{told}");
    let plain = Target::start(|mut stream| async move {
        stream.write_all(b"terminated\n").await.unwrap();
    })
    .await;
    let nlb = terminating(loopback().tls(server_tls(&[])), Relays::builder(), plain.address);
    let told = ask(nlb.address, "shop.example").await;
    assert!(told.contains("terminated"), "{told}");
}
