//! Header fields of the backend, and clients that forge them.

use std::fs;

use http::HeaderName;
use rcgen::{DnType, DnValue};
use tower_lb::listener::tls::{ClientAuth, ServerTls, TlsField, TlsFieldsLayer, TrustStore};

use super::{
    authority::{Authority, Validity, certificates, distinguished},
    peer::{self, has_curl, has_openssl},
    server::Server,
};

fn tls(authority: &Authority, auth: ClientAuth) -> ServerTls {
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    ServerTls::builder(certificates).client_auth(auth).build().unwrap()
}

/// Returns the values of fields with a prefix that the backend has got.
fn fields(told: &str, prefix: &str) -> Vec<(String, String)> {
    let mut fields: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with(prefix))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    fields.sort();
    fields
}

fn decoded(value: &str) -> String {
    value.replace("%20", " ").replace("%0A", "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_cannot_forge_the_fields() {
    if !has_curl() {
        return;
    }
    let authority = Authority::new("forged");
    let name = distinguished(&[(DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 0xabc, Validity::Now);
    let store = TrustStore::builder().bundle_file(&authority.bundle).build().unwrap();
    let (cert, key) = (client.cert.display().to_string(), client.key.display().to_string());
    let bundle = authority.bundle.display().to_string();
    let forged = [
        "X-Amzn-Mtls-Clientcert: forged",
        "x-amzn-MTLS-clientcert: forged again",
        "X_Amzn_Mtls_Clientcert: forged",
        "X-Amzn_Mtls-Clientcert_Leaf: forged",
        "X-Amzn-Mtls-Clientcert-Subject: CN=admin",
        "X-AMZN-MTLS-CLIENTCERT-SUBJECT: CN=root",
        "X-Amzn-Mtls-Clientcert-Serial-Number: 01",
        "X-Amzn-Mtls-Clientcert-Issuer: CN=forged",
        "X-Amzn-Mtls-Clientcert-Validity: forged",
        "X-Amzn-Mtls-Clientcert-Leaf: forged",
        "X-Amzn-Tls-Version: forged",
        "X_amzn_tls.cipher_suite: forged",
        "X-Amzn-Mtls-Clientcert;",
    ];
    let mut arguments = vec!["--cacert", &bundle, "-H", "X-Amzn-Trace-Id: kept"];
    arguments.extend(forged.iter().flat_map(|field| ["-H", field]));
    let with_client = [&arguments[..], &["--cert", &cert, "--key", &key]].concat();
    let verified = [
        ("x-amzn-mtls-clientcert-issuer", "CN=Test CA"),
        ("x-amzn-mtls-clientcert-serial-number", "0ABC"),
        ("x-amzn-mtls-clientcert-subject", "CN=client"),
        (
            "x-amzn-mtls-clientcert-validity",
            "NotBefore=2020-01-02T00:00:00Z;NotAfter=2090-01-02T00:00:00Z",
        ),
    ];
    let pem = fs::read_to_string(&client.cert).unwrap().replace("\r\n", "\n");
    for (auth, arguments, count) in [
        (ClientAuth::Off, &arguments, 0),
        (ClientAuth::Off, &with_client, 0),
        (ClientAuth::Passthrough, &arguments, 0),
        (ClientAuth::Passthrough, &with_client, 1),
        (ClientAuth::Verify(store), &with_client, 5),
    ] {
        let server = Server::start(&tls(&authority, auth)).await;
        for version in ["--http1.1", "--http2"] {
            let told =
                peer::curl(server.address, "shop.example", &[&arguments[..], &[version]].concat())
                    .await;
            assert!(told.contains("x-amzn-trace-id: kept\n"), "{told}");
            assert!(
                !told.contains("forged") && !told.contains("admin") && !told.contains("root"),
                "{told}"
            );
            assert!(!told.contains("x_") && !told.contains("amzn_"), "{told}");
            let found = fields(&told, "x-amzn-mtls-");
            assert_eq!(found.len(), count, "{told}");
            let value = |name: &str| {
                found.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
            };
            match count {
                // curl adds the authority, which it finds in its bundle.
                1 => assert!(decoded(value("x-amzn-mtls-clientcert").unwrap()).starts_with(&pem)),
                5 => {
                    assert_eq!(decoded(value("x-amzn-mtls-clientcert-leaf").unwrap()), pem);
                    for (name, expected) in verified {
                        assert_eq!(value(name), Some(expected), "{told}");
                    }
                }
                _ => {}
            }
            assert_eq!(fields(&told, "x-amzn-tls-version").len(), 1, "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_fields_replace_the_default_ones() {
    if !has_curl() {
        return;
    }
    let authority = Authority::new("renamed");
    let name = |name| HeaderName::from_static(name);
    let layer = TlsFieldsLayer::builder()
        .rename(TlsField::ClientCertificateSubject, name("x-client"))
        .rename(TlsField::Version, name("x-tls"))
        .build()
        .unwrap();
    let server = Server::with_fields(&tls(&authority, ClientAuth::Off), layer).await;
    let arguments = [
        "-k",
        "-H",
        "X_Client: forged",
        "-H",
        "X-Amzn-Mtls-Clientcert-Subject: forged",
        "-H",
        "X-Tls: forged",
    ];
    let told = peer::curl(server.address, "shop.example", &arguments).await;
    // Version and suite are written only if that is set.
    assert!(
        !told.contains("forged") && !told.contains("x-tls") && !told.contains("x-amzn"),
        "{told}"
    );
    let twice =
        TlsFieldsLayer::builder().rename(TlsField::Version, name("x-amzn-tls_cipher-suite"));
    assert_eq!(twice.build().unwrap_err().field(), "rename");
}

/// The names are those of `openssl x509 -nameopt RFC2253`, and end in one line.
#[tokio::test(flavor = "multi_thread")]
async fn names_are_written_as_openssl_does() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("rfc2253");
    let store = TrustStore::builder().bundle_file(&authority.bundle).build().unwrap();
    let server = Server::start(&tls(&authority, ClientAuth::Verify(store))).await;
    let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
    let uid = DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]);
    let own = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
    let printable = |text: &str| DnValue::PrintableString(text.try_into().unwrap());
    let mut names = vec![
        distinguished(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Zürich, Inc."),
            (DnType::CommonName, "Ann + Bob"),
        ]),
        distinguished(&[
            (DnType::CommonName, "a,O=admin\r\nX-Admin: 1\0"),
            (email, "a@b.example"),
            (uid, "#1"),
        ]),
        distinguished(&[
            (DnType::LocalityName, " Rome "),
            (DnType::StateOrProvinceName, "<\"x\">;\\"),
            (own, "private"),
        ]),
        distinguished(&[(DnType::OrganizationalUnitName, "東京"), (DnType::CommonName, "*")]),
        distinguished(&[]),
    ];
    names[3].push(DnType::CountryName, printable("JP"));
    names[4].push(DnType::CommonName, DnValue::BmpString("Grüße".try_into().unwrap()));
    for (number, name) in names.into_iter().enumerate() {
        let serial = [0, 1, 0x80, 0xffff, u64::MAX][number];
        let client = authority.issue_client("client", name, serial, Validity::Now);
        let arguments = client.arguments();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let told = peer::openssl(server.address, &arguments).await;
        let value = |field: &str| {
            let found = fields(&told, field);
            assert_eq!(found.len(), 1, "{field}: {told}");
            found[0].1.clone()
        };
        let cert = client.cert.display().to_string();
        let x509 = [
            "x509", "-in", &cert, "-noout", "-subject", "-issuer", "-serial", "-nameopt", "RFC2253",
        ];
        let expected = peer::output("openssl", &x509, "").await;
        let expect = |key: &str| {
            let line = expected.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("{key}: {expected}")).to_owned()
        };
        assert_eq!(value("x-amzn-mtls-clientcert-subject"), expect("subject="));
        assert_eq!(value("x-amzn-mtls-clientcert-issuer"), expect("issuer="));
        assert_eq!(value("x-amzn-mtls-clientcert-serial-number"), expect("serial="));
        assert!(!told.contains("x-admin"), "{told}");
    }
}

/// The chain is written leaf first, with the certificates that the client has sent.
#[tokio::test(flavor = "multi_thread")]
async fn passthrough_writes_the_whole_chain() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("chain");
    let mut server = Server::start(&tls(&authority, ClientAuth::Passthrough)).await;
    let name = distinguished(&[(DnType::CommonName, "client")]);
    let client = authority.issue_client("client", name, 7, Validity::Now);
    let arguments = client.arguments();
    let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let bundle = authority.bundle.display().to_string();
    arguments.extend(["-cert_chain", &bundle]);
    let told = peer::openssl(server.address, &arguments).await;
    let found = fields(&told, "x-amzn-mtls-");
    assert_eq!(found.len(), 1, "{told}");
    let chain = [&client.cert, &authority.bundle].map(|file| fs::read_to_string(file).unwrap());
    assert_eq!(decoded(&found[0].1), chain.concat().replace("\r\n", "\n"));
    let details = server.handshake().await.unwrap();
    let shown = format!("{details:?}");
    assert!(shown.contains("certificates)") && !shown.contains("BEGIN"), "{shown}");
}
