//! PROXY headers: from curl, from HAProxy, and from peers that lie.

use std::time::Duration;

use ipnet_of::{any, loopback_only, other};
use tower_lb::listener::{Listener, ListenerBuilder, ProxyProtocol};

use crate::{
    served::{Served, loopback, serve},
    wire::{Client, curl, is_installed},
};

mod ipnet_of {
    use tower_lb::listener::ProxyProtocol;

    fn of(networks: &[&str]) -> ProxyProtocol {
        ProxyProtocol::trusting(networks.iter().map(|network| network.parse().unwrap())).unwrap()
    }

    pub(crate) fn any() -> ProxyProtocol {
        of(&["0.0.0.0/0", "::/0"])
    }

    pub(crate) fn loopback_only() -> ProxyProtocol {
        of(&["127.0.0.0/8"])
    }

    pub(crate) fn other() -> ProxyProtocol {
        of(&["192.0.2.0/24"])
    }
}

fn behind(settings: ProxyProtocol) -> ListenerBuilder {
    Listener::builder().socket(loopback().proxy_protocol(settings))
}

async fn assert_refused(served: &Served, bytes: &[u8]) {
    let before = served.status().refused.proxy_header;
    let mut client = Client::connect(served.address).await;
    client.send(bytes).await;
    let (answer, time) = client.rest().await;
    assert_eq!(answer, "", "{}", bytes.escape_ascii());
    assert!(time < Duration::from_secs(2), "{time:?}: {}", bytes.escape_ascii());
    served.until("counted", |status| status.refused.proxy_header == before + 1).await;
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x1F, 0x90, 0x01, 0xBB];

#[test]
fn a_policy_is_mandatory() {
    let error = ProxyProtocol::trusting([]).unwrap_err();
    assert_eq!(error.to_string(), "`trusting`: expected at least one network");
}

#[tokio::test]
async fn curl_writes_version_1() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = serve(behind(loopback_only()));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let told = curl(&[version, "--haproxy-protocol", &served.url("/")]).await;
        assert!(told.contains("client 127.0.0.1:"), "{told}");
        assert!(told.contains("socket Some(127.0.0.1:"), "{told}");
        assert!(told.contains("proxy 1 Some(127.0.0.1:"), "{told}");
    }
    // Without the header, it is not guessed.
    let told = curl(&[&served.url("/")]).await;
    assert!(told.contains("curl: ("), "{told}");
    assert_eq!(served.status().refused.proxy_header, 1);
}

#[tokio::test]
async fn addresses_of_version_2_and_local() {
    let served = serve(behind(loopback_only()));
    let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    // In one segment with the request, and byte by byte.
    let mut client = Client::connect(served.address).await;
    client.send([&v2(1, 0x11, &IPV4)[..], request].concat()).await;
    let told = client.response().await;
    assert!(told.contains("client 192.0.2.1:8080 to 198.51.100.2:443 tls false"), "{told}");

    let ssl = [&[0x20, 0, 5][..], &[1, 0, 0, 0, 1]].concat();
    let mut client = Client::connect(served.address).await;
    for byte in v2(1, 0x11, &[&IPV4[..], &ssl].concat()) {
        client.send([byte]).await;
    }
    let told = client.get("/").await;
    assert!(told.contains("client 192.0.2.1:8080 to 198.51.100.2:443 tls true"), "{told}");

    let mut client = Client::connect(served.address).await;
    client.send(v2(0, 0, &[])).await;
    let told = client.get("/").await;
    assert!(told.contains(&format!("to {} tls false", served.address)), "{told}");
    assert!(told.contains("client 127.0.0.1:") && told.contains("proxy 2 None"), "{told}");
}

#[tokio::test]
async fn garbage_truncation_size_and_checksum() {
    let served = serve(behind(any()));
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PROXY TCP4 1.2.3.4\r\n",
        &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
        &v2(1, 0x31, &[0; 216]),
        &v2(1, 0x12, &IPV4),
        // More than 4 KiB are announced, and not sent.
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF",
        &v2(1, 0x11, &[&IPV4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()),
    ] {
        assert_refused(&served, garbage).await;
    }
    let mut client = Client::connect(served.address).await;
    client.send(&v2(1, 0x11, &IPV4)[..20]).await;
    let mut client = client.0.into_std().unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    served.until("truncated", |status| status.refused.proxy_header == 9).await;
    // A health check that only connects is no error.
    drop(client.set_nonblocking(false));
    drop(std::io::Read::read(&mut client, &mut [0]));
    drop(Client::connect(served.address).await);
    served.until("closed", |status| status.closed.finished == 1).await;
    let status = served.status();
    assert_eq!((status.accepted, status.refused.total(), status.requests), (10, 9, 0));
}

#[tokio::test]
async fn a_header_that_does_not_come() {
    let served = serve(behind(any().timeout(Duration::from_millis(300))));
    for part in [&b""[..], b"PROXY TCP4 192.0.2.1 "] {
        let mut client = Client::connect(served.address).await;
        client.send(part).await;
        let (_, time) = client.rest().await;
        assert!(time > Duration::from_millis(250) && time < Duration::from_secs(2), "{time:?}");
    }
    served.until("counted", |status| status.refused.proxy_timeout == 2).await;
}

#[tokio::test]
async fn an_untrusted_peer_is_refused_whatever_it_says() {
    let served = serve(behind(other()));
    let mut client = Client::connect(served.address).await;
    let (answer, time) = client.rest().await;
    assert!(answer.is_empty() && time < Duration::from_secs(2));
    served.until("counted", |status| status.refused.untrusted_peer == 1).await;
}

#[tokio::test]
async fn the_limit_per_address_counts_the_client_of_the_header() {
    let served = serve(behind(any()).max_connections_per_address(1));
    let header = |client: u8| format!("PROXY TCP4 192.0.2.{client} 198.51.100.1 1 2\r\n");
    let mut one = Client::connect(served.address).await;
    one.send(header(1)).await;
    assert!(one.get("/").await.contains("client 192.0.2.1:1"));
    let mut two = Client::connect(served.address).await;
    two.send(header(2)).await;
    assert!(two.get("/").await.contains("client 192.0.2.2:1"));
    let mut again = Client::connect(served.address).await;
    again.send(header(1)).await;
    assert_eq!(again.rest().await.0, "");
    served.until("counted", |status| status.refused.connections_per_address == 1).await;
}
