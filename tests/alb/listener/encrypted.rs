//! Where TLS is in the order of a connection. What TLS itself does is tested in `tls`.

use std::{process::Command, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use tower_lb::listener::{
    ListenError, Listener, ListenerBuilder, ProxyProtocol, Socket,
    tls::{Certificate, Certificates, ServerTls},
};

use crate::{
    served::{Served, loopback, serve},
    wire::{Client, curl, is_installed, output},
};

fn certificates() -> Certificates {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Certificates::builder()
        .default_certificate(Certificate::pem(cert.pem(), signing_key.serialize_pem()))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .unwrap()
}

fn tls() -> ServerTls {
    ServerTls::builder(certificates()).build().unwrap()
}

fn encrypted(change: impl FnOnce(Socket) -> Socket) -> ListenerBuilder {
    Listener::builder().socket(change(loopback().tls(tls())))
}

fn url(served: &Served) -> String {
    format!("https://{}/", served.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn alpn_decides_the_version() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = serve(encrypted(|socket| socket));
    for (arguments, version) in [
        (&["--http1.1"][..], "HTTP/1.1"),
        (&["--http2"], "HTTP/2.0"),
        (&["--no-alpn", "--http1.1"], "HTTP/1.1"),
    ] {
        let told = curl(&[&["-k"], arguments, &[&url(&served)]].concat()).await;
        assert!(told.starts_with(version), "{arguments:?}: {told}");
        assert!(told.contains("tls true"), "{told}");
    }
    // Without TLS, it is a failed handshake.
    let told = curl(&[&served.url("/")]).await;
    assert!(told.contains("curl: ("), "{told}");
    served.until("counted", |status| status.refused.handshake == 1).await;
    let drained = served.stop().await;
    assert_eq!(drained.cut_off, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_http2_alpn_does_not_offer_it() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = serve(encrypted(|socket| socket).http2(false));
    for arguments in [&["--http1.1"][..], &["--http2"], &["--no-alpn"]] {
        let told = curl(&[&["-k"], arguments, &[&url(&served)]].concat()).await;
        assert!(told.starts_with("HTTP/1.1"), "{arguments:?}: {told}");
    }
    assert_eq!(served.status().refused.total(), 0);
    // openssl shows what was chosen.
    let offers = |protocols| {
        let mut openssl = Command::new("openssl");
        let address = served.address.to_string();
        openssl.args(["s_client", "-connect", &address, "-alpn", protocols]);
        output(openssl)
    };
    if is_installed("openssl", "version") {
        let told = offers("h2,http/1.1").await;
        assert!(told.contains("ALPN protocol: http/1.1"), "{told}");
        // One that offers nothing else is refused, and not served what it did not ask for.
        let told = offers("h2").await;
        assert!(told.contains("no application protocol"), "{told}");
    }
}

#[tokio::test]
async fn alpn_that_leaves_nothing_is_an_error() {
    let socket = |protocols: &[&str]| {
        let tls = ServerTls::builder(certificates()).alpn(protocols.iter().copied());
        Listener::builder().socket(loopback().tls(tls.build().unwrap()))
    };
    let error = socket(&["h2"]).http2(false).bind().unwrap_err();
    assert!(matches!(&error, ListenError::Config(error) if error.field() == "tls.alpn"), "{error}");
    for protocols in [&[][..], &["h2", "http/1.1"], &["http/1.1"]] {
        assert!(socket(protocols).http2(false).bind().is_ok(), "{protocols:?}");
    }
    assert!(socket(&["h2"]).bind().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_header_comes_before_the_handshake() {
    if !is_installed("curl", "--version") {
        return;
    }
    let trusted = ProxyProtocol::trusting(["127.0.0.0/8".parse().unwrap()]).unwrap();
    let served = serve(encrypted(|socket| socket.proxy_protocol(trusted)));
    let told = curl(&["-k", "--http2", "--haproxy-protocol", &url(&served)]).await;
    assert!(told.starts_with("HTTP/2.0") && told.contains("proxy 1"), "{told}");
    let told = curl(&["-k", &url(&served)]).await;
    assert!(told.contains("curl: ("), "{told}");
    assert_eq!(served.status().refused.proxy_header, 1);
}

#[tokio::test]
async fn a_handshake_that_does_not_end() {
    let limit = Duration::from_millis(300);
    let served = serve(encrypted(|socket| socket).handshake_timeout(limit).max_handshakes(1));
    let mut one = Client::connect(served.address).await;
    let mut two = Client::connect(served.address).await;
    one.send([0x16, 0x03, 0x01]).await;
    for client in [&mut one, &mut two] {
        let (_, time) = client.rest().await;
        assert!(time < Duration::from_secs(2), "{time:?}");
    }
    served.until("counted", |status| status.refused.handshake_timeout == 2).await;
    assert_eq!(served.status().open, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_do_not_delay_handshakes() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = serve(encrypted(|socket| socket).max_handshakes(1));
    // Neither has sent the whole of its first record.
    let _silent = Client::connect(served.address).await;
    let mut slow = Client::connect(served.address).await;
    slow.send([0x16, 0x03, 0x01]).await;
    let told = curl(&["-k", "--max-time", "5", &url(&served)]).await;
    assert!(told.starts_with("HTTP/2.0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_cut_off_under_tls_too() {
    if !is_installed("curl", "--version") {
        return;
    }
    let served = crate::served::serve_for(encrypted(|socket| socket), Duration::from_millis(300));
    let url = format!("https://{}/echo", served.address);
    let told = tokio::spawn(async move {
        let upgrade = ["-H", "Connection: upgrade", "-H", "Upgrade: echo"];
        curl(&[&["-k", "-N", "-i", "--http1.1"], &upgrade[..], &[&url]].concat()).await
    });
    served.until("a tunnel", |status| status.requests == 1 && status.in_flight == 0).await;
    assert_eq!(served.status().open, 1);
    let drained = served.stop().await;
    assert_eq!((drained.finished, drained.cut_off), (0, 1));
    assert!(told.await.unwrap().starts_with("HTTP/1.1 101"));
}
