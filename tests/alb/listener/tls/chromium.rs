//! A page in Chromium, which verifies the key of the certificate.

use base64::{Engine, engine::general_purpose::STANDARD};
use tower_lb::listener::tls::ServerTls;

use super::{
    authority::{Authority, certificates},
    peer::{self, has_openssl, is_installed},
    server::Server,
};

#[tokio::test(flavor = "multi_thread")]
async fn chromium_shows_a_page() {
    if !is_installed("chromium", "--version") || !has_openssl() {
        return;
    }
    let authority = Authority::new("chromium");
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    let tls = ServerTls::builder(certificates).build().unwrap();
    let mut server = Server::start(&tls).await;
    // Chromium has no option for an authority, but one for the digest of a key.
    let cert = issued.cert.display().to_string();
    let key = peer::output("openssl", &["x509", "-in", &cert, "-noout", "-pubkey"], "").await;
    let base64: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, &STANDARD.decode(base64).unwrap());
    let trust = format!("--ignore-certificate-errors-spki-list={}", STANDARD.encode(digest));
    let profile = format!("--user-data-dir={}", authority.directory.join("profile").display());
    let url = format!("https://shop.example:{}/", server.address.port());
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP shop.example 127.0.0.1",
        &trust,
        &profile,
        "--dump-dom",
        &url,
    ];
    let told = peer::output("chromium", &arguments, "").await;
    assert!(told.contains("GET / HTTP/2.0"), "{told}");
    assert!(told.contains("x-amzn-tls-version: TLSv1.3"), "{told}");
    let details = server.handshake().await.unwrap();
    assert_eq!((details.server_name(), details.alpn()), (Some("shop.example"), Some(&b"h2"[..])));
}
