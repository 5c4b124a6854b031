//! Clients with certificates: good ones, and those that are refused.

use std::{fs, time::Duration};

use rcgen::DnType;
use tower_lb::listener::tls::{
    ClientAuth, ClientCertificate, ServerTls, TrustStore, TrustStoreBuilder,
};

use super::{
    authority::{Authority, Issued, Validity, certificates, distinguished},
    peer::{self, has_openssl},
    server::Server,
};

struct Clients {
    authority: Authority,
    other: Authority,
    good: Issued,
    revoked: Issued,
    expired: Issued,
    expired_revoked: Issued,
    future: Issued,
    unknown: Issued,
}

impl Clients {
    fn new(test: &str) -> Self {
        let authority = Authority::new(test);
        let other = authority.other("Other CA");
        let issue = |authority: &Authority, file: &str, serial, validity| {
            let name = distinguished(&[(DnType::CommonName, file)]);
            authority.issue_client(file, name, serial, validity)
        };
        Self {
            good: issue(&authority, "good", 1, Validity::Now),
            revoked: issue(&authority, "revoked", 2, Validity::Now),
            expired: issue(&authority, "expired", 3, Validity::Past),
            expired_revoked: issue(&authority, "expired-revoked", 4, Validity::Past),
            future: issue(&authority, "future", 5, Validity::Future),
            unknown: issue(&other, "unknown", 6, Validity::Now),
            authority,
            other,
        }
    }

    fn store(&self) -> TrustStoreBuilder {
        TrustStore::builder().bundle_file(&self.authority.bundle)
    }

    async fn server(&self, auth: ClientAuth) -> Server {
        let issued = self.authority.issue("shop", &["shop.example"]);
        let certificates = certificates().default_certificate(issued.files()).build().unwrap();
        let tls = ServerTls::builder(certificates).client_auth(auth).build().unwrap();
        Server::start(&tls).await
    }

    /// Returns what the server says of each client, or the alert that the client gets.
    async fn tried(&self, auth: ClientAuth, client: Option<&Issued>) -> [String; 2] {
        let mut server = self.server(auth).await;
        let arguments = client.map(Issued::arguments);
        let arguments: Vec<_> = arguments.iter().flatten().map(String::as_str).collect();
        let mut results = Vec::new();
        for version in ["-tls1_2", "-tls1_3"] {
            let told = peer::openssl(server.address, &[&arguments[..], &[version]].concat()).await;
            results.push(match server.handshake().await {
                Ok(details) => {
                    assert!(told.contains("GET / HTTP/1.1"), "{told}");
                    match details.client_certificate() {
                        ClientCertificate::None => "none".into(),
                        ClientCertificate::Unverified(_) => "unverified".into(),
                        ClientCertificate::Verified(_) => "verified".into(),
                        other => format!("{other:?}"),
                    }
                }
                Err(_) => {
                    assert!(!told.contains("GET / HTTP/1.1\n"), "{told}");
                    let alert = told.lines().find_map(|line| {
                        line.split(":SSL alert").next().filter(|before| before.len() < line.len())
                    });
                    let alert = alert.unwrap_or("no alert").split("alert ").last().unwrap();
                    alert.split(':').next().unwrap().to_owned()
                }
            });
        }
        results.try_into().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_verified_by_the_trust_store() {
    if !has_openssl() {
        return;
    }
    let clients = Clients::new("clients");
    let crl = clients.authority.revoke("clients.crl", &[2, 4]);
    let verify = |store: TrustStoreBuilder| ClientAuth::Verify(store.build().unwrap());
    let both = || clients.store().bundle_file(&clients.other.bundle);
    let Clients { good, revoked, expired, expired_revoked, future, unknown, .. } = &clients;
    let plain = verify(clients.store());
    let revoking = verify(clients.store().crl_file(&crl));
    let old = verify(clients.store().ignore_expiry(true));
    let old_revoking = verify(clients.store().ignore_expiry(true).crl_file(&crl));
    let optional = verify(clients.store().allow_anonymous(true));
    let strict = verify(both().crl_file(&crl));
    let lenient = verify(both().crl_file(&crl).allow_unknown_revocation(true));
    for (mode, auth, client, result) in [
        ("off", &ClientAuth::Off, Some(good), "none"),
        ("passthrough", &ClientAuth::Passthrough, Some(good), "unverified"),
        ("passthrough", &ClientAuth::Passthrough, Some(unknown), "unverified"),
        ("passthrough", &ClientAuth::Passthrough, Some(expired), "unverified"),
        ("passthrough", &ClientAuth::Passthrough, None, "none"),
        ("verify", &plain, Some(good), "verified"),
        ("verify", &plain, Some(revoked), "verified"),
        ("verify", &plain, Some(expired), "certificate expired"),
        ("verify", &plain, Some(future), "certificate expired"),
        ("verify", &plain, Some(unknown), "unknown ca"),
        ("verify", &plain, None, "certificate required"),
        ("verify with a CRL", &revoking, Some(good), "verified"),
        ("verify with a CRL", &revoking, Some(revoked), "certificate revoked"),
        ("ignore expiry", &old, Some(expired), "verified"),
        ("ignore expiry", &old, Some(good), "verified"),
        ("ignore expiry", &old, Some(future), "certificate expired"),
        ("ignore expiry", &old, Some(unknown), "unknown ca"),
        ("ignore expiry with a CRL", &old_revoking, Some(expired), "verified"),
        ("ignore expiry with a CRL", &old_revoking, Some(expired_revoked), "certificate revoked"),
        ("optional", &optional, None, "none"),
        ("optional", &optional, Some(good), "verified"),
        ("optional", &optional, Some(unknown), "unknown ca"),
        ("a CRL of one of two", &strict, Some(good), "verified"),
        ("a CRL of one of two", &strict, Some(unknown), "unknown ca"),
        ("a CRL of one of two, lenient", &lenient, Some(unknown), "verified"),
        ("a CRL of one of two, lenient", &lenient, Some(revoked), "certificate revoked"),
    ] {
        let file = client.map(|client| client.cert.file_name().unwrap().display().to_string());
        let tried = clients.tried(auth.clone(), client).await;
        assert_eq!(tried, [result, result], "{mode} {file:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_authorities_are_told_if_set() {
    if !has_openssl() {
        return;
    }
    let clients = Clients::new("hints");
    for is_told in [false, true] {
        let store = clients.store().advertise_ca_names(is_told).build().unwrap();
        let server = clients.server(ClientAuth::Verify(store)).await;
        for version in ["-tls1_2", "-tls1_3"] {
            let told = peer::handshake(server.address, &[version]).await;
            let names = told.contains("Acceptable client certificate CA names\nCN = Test CA");
            assert_eq!(names, is_told, "{version}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_is_refused() {
    if !has_openssl() {
        return;
    }
    let clients = Clients::new("long");
    let authority = fs::read_to_string(&clients.authority.bundle).unwrap();
    for auth in [ClientAuth::Passthrough, ClientAuth::Verify(clients.store().build().unwrap())] {
        let mut server = clients.server(auth).await;
        for (length, is_accepted) in [(3, true), (100, false)] {
            // openssl sends the certificate, and then the file.
            let chain = clients.authority.directory.join("chain.pem");
            fs::write(&chain, authority.repeat(length)).unwrap();
            let chain = chain.display().to_string();
            let arguments = clients.good.arguments();
            let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            arguments.extend(["-cert_chain", &chain]);
            let told = peer::openssl(server.address, &arguments).await;
            let accepted = server.handshake().await;
            let accepted = accepted.ok().map(|details| details.client_certificate().chain().len());
            assert_eq!(accepted, is_accepted.then_some(length + 1), "{told}");
        }
    }
}

#[test]
fn bad_trust_stores_are_refused_with_their_path() {
    let clients = Clients::new("bad-store");
    let directory = &clients.authority.directory;
    let missing = directory.join("missing.pem");
    let key = &clients.good.key;
    let garbage = directory.join("garbage.crl");
    fs::write(&garbage, "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n").unwrap();
    for (store, field, path) in [
        (TrustStore::builder().bundle_file(&missing), "trust_store.bundle", &missing),
        (TrustStore::builder().bundle_file(key), "trust_store.bundle", key),
        (clients.store().crl_file(&missing), "trust_store.crl", &missing),
        (clients.store().crl_file(&garbage), "trust_store.crl", &garbage),
        (clients.store().crl_file(&clients.good.cert), "trust_store.crl", &clients.good.cert),
    ] {
        let error = store.build().unwrap_err();
        assert_eq!((error.field(), error.value()), (field, Some(&*path.display().to_string())));
    }
    let error = TrustStore::builder().build().unwrap_err();
    assert_eq!(error.field(), "trust_store.bundle");
    let shown = format!("{:?}", clients.store().build().unwrap());
    assert!(shown.contains("authorities: 1"), "{shown}");
}

/// A peer that does not speak TLS, or stops, or lies, costs no more than its connection.
#[tokio::test(flavor = "multi_thread")]
async fn peers_that_do_not_speak_tls_fail() {
    use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

    let clients = Clients::new("garbage");
    let mut server = clients.server(ClientAuth::Off).await;
    let mut hello = vec![22, 3, 1, 0xff, 0xff];
    hello.extend([0xab; 300]);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"\0\0\0\0\0\0",
        b"",
        &hello,
        &[22, 3, 1, 0, 4, 1, 0],
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let _ = socket.write_all(bytes).await;
        sleep(Duration::from_millis(20)).await;
        drop(socket);
        assert!(server.handshake().await.is_err(), "{bytes:?}");
    }
}
