//! Sessions that are resumed, and those that must not be.

use std::{fs, path::Path, sync::Arc};

use rustls::{crypto::ring::Ticketer, server::ProducesTickets};
use tower_lb::listener::tls::{
    Certificates, ClientAuth, ClientCertificate, Resumption, ServerTls, TrustStore,
};

use super::{
    authority::{Authority, Validity, certificates, distinguished},
    peer::{self, has_openssl},
    server::Server,
};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn served(authority: &Authority) -> Certificates {
    let issued = authority.issue("shop", &["shop.example"]);
    certificates().default_certificate(issued.files()).build().unwrap()
}

fn server_tls(certificates: &Certificates, auth: ClientAuth, resumption: Resumption) -> ServerTls {
    let builder = ServerTls::builder(certificates.clone()).client_auth(auth);
    builder.resumption(resumption).build().unwrap()
}

/// Connects and keeps the session in a file.
async fn begin(server: &Server, session: &Path, arguments: &[&str]) -> String {
    let _ = fs::remove_file(session);
    let file = session.display().to_string();
    peer::openssl(server.address, &[arguments, &["-sess_out", &file]].concat()).await
}

/// Connects with the session of the file, and returns whether it was resumed.
async fn is_resumed(server: &Server, session: &Path, arguments: &[&str]) -> bool {
    // TLS 1.2 with a server that gives no session.
    if !session.exists() {
        return false;
    }
    let file = session.display().to_string();
    let told = peer::openssl(server.address, &[arguments, &["-sess_in", &file]].concat()).await;
    told.contains("Reused, TLS")
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_by_cache_and_ticket() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("resumed");
    let certificates = served(&authority);
    let session = authority.directory.join("session");
    for (resumption, is_on) in [
        (Resumption::cache(100), true),
        (Resumption::tickets(Ticketer::new), true),
        (Resumption::off(), false),
    ] {
        let tls = server_tls(&certificates, ClientAuth::Off, resumption.clone());
        let mut server = Server::start(&tls).await;
        for version in VERSIONS {
            let told = begin(&server, &session, &[version]).await;
            assert!(told.contains("New, TLS"), "{told}");
            assert!(!server.handshake().await.unwrap().is_resumed());
            let resumed = is_resumed(&server, &session, &[version]).await;
            assert_eq!(resumed, is_on, "{resumption:?} {version}");
            if session.exists() {
                assert_eq!(server.handshake().await.unwrap().is_resumed(), is_on);
            }
        }
    }
    // Without a setting, sessions are resumed, unless clients present certificates.
    for (auth, is_on) in [(ClientAuth::Off, true), (ClientAuth::Passthrough, false)] {
        let tls = ServerTls::builder(certificates.clone()).client_auth(auth).build().unwrap();
        let server = Server::start(&tls).await;
        begin(&server, &session, &[]).await;
        assert_eq!(is_resumed(&server, &session, &[]).await, is_on);
    }
}

/// openssl's own test of five more connections.
#[tokio::test(flavor = "multi_thread")]
async fn openssl_reconnects() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("reconnect");
    let tls = server_tls(&served(&authority), ClientAuth::Off, Resumption::cache(100));
    let server = Server::start(&tls).await;
    let told = peer::handshake(server.address, &["-tls1_2", "-reconnect"]).await;
    assert_eq!(told.matches("Reused, TLS").count(), 5, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_certificates_keep_sessions_and_replaced_policies_do_not() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("kept");
    let certificates = served(&authority);
    let session = authority.directory.join("session");
    let tls = server_tls(&certificates, ClientAuth::Off, Resumption::tickets(Ticketer::new));
    let server = Server::start(&tls).await;
    for version in VERSIONS {
        begin(&server, &session, &[version]).await;
        certificates.replace(&served(&authority));
        assert!(is_resumed(&server, &session, &[version]).await);
        tls.replace(&server_tls(
            &certificates,
            ClientAuth::Off,
            Resumption::tickets(Ticketer::new),
        ));
        assert!(!is_resumed(&server, &session, &[version]).await);
    }
}

/// CVE-2025-23419 of nginx: a session of an open listener must not open one that demands
/// certificates, even if both have the same key of tickets.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_does_not_bypass_client_certificates() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("bypass");
    let certificates = served(&authority);
    let session = authority.directory.join("session");
    let shared: Arc<dyn ProducesTickets> = Ticketer::new().unwrap();
    let tickets = || {
        let shared = Arc::clone(&shared);
        Resumption::tickets(move || Ok(Arc::clone(&shared)))
    };
    let store = |authority: &Authority| TrustStore::builder().bundle_file(&authority.bundle);
    let verify = || ClientAuth::Verify(store(&authority).build().unwrap());
    let open = Server::start(&server_tls(&certificates, ClientAuth::Off, tickets())).await;
    let twin = Server::start(&server_tls(&certificates, ClientAuth::Off, tickets())).await;
    let passing =
        Server::start(&server_tls(&certificates, ClientAuth::Passthrough, tickets())).await;
    let strict = Server::start(&server_tls(&certificates, verify(), tickets())).await;
    let strict_twin = Server::start(&server_tls(&certificates, verify(), tickets())).await;
    let others = ClientAuth::Verify(store(&authority.other("other")).build().unwrap());
    let others = Server::start(&server_tls(&certificates, others, tickets())).await;
    let revoked = authority.revoke("all.crl", &[5]);
    let revoking = store(&authority).crl_file(&revoked).build().unwrap();
    let revoking =
        Server::start(&server_tls(&certificates, ClientAuth::Verify(revoking), tickets())).await;

    let name = distinguished(&[(rcgen::DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 5, Validity::Now).arguments();
    let client: Vec<_> = client.iter().map(String::as_str).collect();
    for version in VERSIONS {
        begin(&open, &session, &[version]).await;
        // The key is the same, so the session is good where clients present nothing.
        assert!(is_resumed(&twin, &session, &[version]).await, "{version}");
        for server in [&passing, &strict, &others, &revoking] {
            begin(&open, &session, &[version]).await;
            assert!(!is_resumed(server, &session, &[version]).await, "{version}");
        }
        let with_client = [&client[..], &[version]].concat();
        begin(&strict, &session, &with_client).await;
        assert!(is_resumed(&strict_twin, &session, &with_client).await, "{version}");
        for server in [&open, &passing, &others, &revoking] {
            begin(&strict, &session, &with_client).await;
            assert!(!is_resumed(server, &session, &with_client).await, "{version}");
        }
        begin(&passing, &session, &with_client).await;
        assert!(!is_resumed(&strict, &session, &with_client).await, "{version}");
    }
}

/// A control of the test above: rustls alone resumes such a session.
#[tokio::test(flavor = "multi_thread")]
async fn rustls_alone_is_bypassed() {
    use rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::WebPkiClientVerifier,
    };

    if !has_openssl() {
        return;
    }
    let authority = Authority::new("control");
    let issued = authority.issue("shop", &["shop.example"]);
    let session = authority.directory.join("session");
    let shared: Arc<dyn ProducesTickets> = Ticketer::new().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.bundle).unwrap()).unwrap();
    let provider = super::authority::provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
    let start = async |verifier| {
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&issued.cert).unwrap()],
                PrivateKeyDer::from_pem_file(&issued.key).unwrap(),
            )
            .unwrap();
        config.ticketer = Arc::clone(&shared);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    use tokio::io::AsyncWriteExt;

                    if let Ok(mut stream) = acceptor.accept(socket).await {
                        let _ = stream.write_all(b"done\n").await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        address
    };
    let open = start(WebPkiClientVerifier::no_client_auth()).await;
    let strict = start(verifier.unwrap()).await;
    let file = session.display().to_string();
    peer::openssl(open, &["-tls1_3", "-sess_out", &file]).await;
    let told = peer::openssl(strict, &["-tls1_3", "-sess_in", &file]).await;
    assert!(told.contains("Reused, TLS") && told.contains("done"), "{told}");
}

/// A resumed session shows the certificate of its beginning, which is verified again.
#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_client_keeps_its_certificate() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("resumed-client");
    let certificates = served(&authority);
    let session = authority.directory.join("session");
    let name = distinguished(&[(rcgen::DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 5, Validity::Now).arguments();
    let client: Vec<_> = client.iter().map(String::as_str).collect();
    let store = TrustStore::builder().bundle_file(&authority.bundle).build().unwrap();
    for resumption in [Resumption::cache(10), Resumption::tickets(Ticketer::new)] {
        for auth in [ClientAuth::Passthrough, ClientAuth::Verify(store.clone())] {
            let tls = server_tls(&certificates, auth, resumption.clone());
            let mut server = Server::start(&tls).await;
            for version in VERSIONS {
                let arguments = [&client[..], &[version]].concat();
                begin(&server, &session, &arguments).await;
                let first = server.handshake().await.unwrap();
                assert!(is_resumed(&server, &session, &arguments).await);
                let second = server.handshake().await.unwrap();
                assert!(second.is_resumed() && !first.is_resumed());
                assert_eq!(first.client_certificate(), second.client_certificate());
                assert_ne!(*second.client_certificate(), ClientCertificate::None);
            }
        }
    }
}

/// rustls does not verify a resumed client again, but the listener does.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_certificate() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("session-end");
    let certificates = served(&authority);
    let store = || TrustStore::builder().bundle_file(&authority.bundle);
    let strict = ClientAuth::Verify(store().build().unwrap());
    let lenient = ClientAuth::Verify(store().ignore_expiry(true).build().unwrap());
    let name = distinguished(&[(rcgen::DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 5, Validity::Seconds(8)).arguments();
    let client: Vec<_> = client.iter().map(String::as_str).collect();
    let mut servers = Vec::new();
    for (file, auth, is_accepted) in [("strict", strict, false), ("lenient", lenient, true)] {
        let tls = server_tls(&certificates, auth, Resumption::cache(10));
        let mut server = Server::start(&tls).await;
        let session = authority.directory.join(file);
        begin(&server, &session, &client).await;
        server.handshake().await.expect("a valid certificate");
        servers.push((server, session, is_accepted));
    }
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    for (mut server, session, is_accepted) in servers {
        is_resumed(&server, &session, &client).await;
        let handshake = server.handshake().await;
        match is_accepted {
            true => assert!(handshake.unwrap().is_resumed()),
            false => assert!(handshake.unwrap_err().contains("expired")),
        }
    }
}
