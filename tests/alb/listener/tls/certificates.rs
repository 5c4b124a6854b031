//! Which certificate a client gets, and which configurations are refused.

use std::fs;

use proptest::{prelude::*, test_runner::RngSeed};
use tower_lb::{
    ConfigError,
    listener::tls::{Certificate, Certificates, ServerTls, UnknownName},
};

use super::{
    authority::{Authority, Issued, Validity, certificates, provider},
    peer::{self, has_curl, has_openssl, is_connected, subject},
    server::Server,
};

#[tokio::test(flavor = "multi_thread")]
async fn names_choose_the_certificate() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("names");
    let issue = |file, names: &[&str]| authority.issue(file, names).files();
    let built = || {
        certificates()
            .default_certificate(issue("default", &["default.example"]))
            .certificate(issue("shop", &["shop.example", "www.shop.example"]))
            .certificate(issue("wildcard", &["*.shop.example"]))
            .certificate(
                issue("given", &["unused.example"]).names(["*.Given.example", "given.example."]),
            )
    };
    let tls = ServerTls::builder(built().build().unwrap()).build().unwrap();
    let strict = built().unknown_name(UnknownName::Refuse).build().unwrap();
    let strict = ServerTls::builder(strict).build().unwrap();
    let (server, strict) = (Server::start(&tls).await, Server::start(&strict).await);
    let bundle = authority.bundle.display().to_string();
    for (name, served, is_known) in [
        ("shop.example", "shop", true),
        ("SHOP.example", "shop", true),
        ("www.shop.example", "shop", true),
        ("a.shop.example", "wildcard", true),
        ("a.b.shop.example", "default", false),
        ("default.example", "default", true),
        ("given.example", "given", true),
        ("x.given.example", "given", true),
        ("unused.example", "default", false),
        ("unknown.example", "default", false),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = ["-servername", name, "-CAfile", &bundle, version];
            let told = peer::handshake(server.address, &arguments).await;
            assert_eq!(subject(&told), Some(served), "{name} {version}: {told}");
            assert!(told.contains("Verify return code: 0"), "{name}: {told}");
            let told = peer::handshake(strict.address, &arguments).await;
            assert_eq!(is_connected(&told), is_known, "{name} {version}: {told}");
        }
    }
    let told = peer::handshake(server.address, &["-noservername"]).await;
    assert_eq!(subject(&told), Some("default"), "{told}");
    let told = peer::handshake(strict.address, &["-noservername"]).await;
    assert!(!is_connected(&told) && told.contains("access denied"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ecdsa_comes_before_rsa_for_clients_that_know_it() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("algorithms");
    let ecdsa = authority.issue("ecdsa", &["shop.example"]);
    let Some(rsa) = authority.issue_rsa("rsa", &["shop.example"]) else { return };
    // The order in which they are added does not matter.
    for pair in [[&rsa, &ecdsa], [&ecdsa, &rsa]] {
        let [first, second] = pair.map(Issued::files);
        let builder = certificates().default_certificate(first).default_certificate(second);
        let tls = ServerTls::builder(builder.build().unwrap()).build().unwrap();
        let server = Server::start(&tls).await;
        for name in [&["-servername", "shop.example"][..], &["-noservername"]] {
            for (arguments, served) in [
                (&["-tls1_2"][..], "ecdsa"),
                (&["-tls1_3"], "ecdsa"),
                (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa"),
                (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "rsa"),
                (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"], "ecdsa"),
            ] {
                let told = peer::handshake(server.address, &[name, arguments].concat()).await;
                assert_eq!(subject(&told), Some(served), "{arguments:?}: {told}");
            }
        }
        // A client that knows neither is told so.
        let told = peer::handshake(server.address, &["-tls1_3", "-sigalgs", "ed25519"]).await;
        assert!(!is_connected(&told) && told.contains("handshake failure"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_verifies_and_negotiates() {
    if !has_curl() {
        return;
    }
    let authority = Authority::new("curl");
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    let tls = ServerTls::builder(certificates).build().unwrap();
    let server = Server::start(&tls).await;
    let bundle = authority.bundle.display().to_string();
    for (arguments, end) in [
        (&[][..], "200 2"),
        (&["--http1.1"], "200 1.1"),
        (&["--no-alpn"], "200 1.1"),
        (&["--tls-max", "1.2"], "200 2"),
    ] {
        let arguments = [&["--cacert", &bundle][..], arguments].concat();
        let told = peer::curl(server.address, "shop.example", &arguments).await;
        assert!(told.ends_with(end), "{arguments:?}: {told}");
    }
    let told = peer::curl(server.address, "other.example", &["--cacert", &bundle]).await;
    assert!(told.contains("does not match") || told.contains("no alternative"), "{told}");
}

/// Each error names the place, and the path if there is one.
#[test]
fn bad_certificates_are_refused_with_their_path() {
    let authority = Authority::new("bad");
    let good = authority.issue("good", &["good.example"]);
    let other = authority.issue("other", &["other.example"]);
    let expired = authority.issue_valid("expired", &["old.example"], Validity::Past);
    let future = authority.issue_valid("future", &["new.example"], Validity::Future);
    let nameless = authority.issue("nameless", &["10.0.0.1"]);
    let file = |name: &str, content: &[u8]| {
        let path = authority.directory.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let good_pem = fs::read(&good.cert).unwrap();
    let key_pem = fs::read(&good.key).unwrap();
    let truncated = file("truncated.pem", &good_pem[..good_pem.len() / 2]);
    let garbage =
        file("garbage.pem", b"-----BEGIN CERTIFICATE-----\n\0\xff\n-----END CERTIFICATE-----\n");
    let noise = file("noise.der", &[0x30, 0x82, 0xff, 0xff, 1, 2, 3]);
    let empty = file("empty.pem", b"");
    let missing = authority.directory.join("missing.pem");
    let encrypted = file(
        "encrypted.key",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGjMF8=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let legacy = file(
        "legacy.key",
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAA==\n-----END RSA PRIVATE KEY-----\n",
    );
    let ca = authority.bundle.clone();
    for (chain, key, field, names, says) in [
        (&missing, &good.key, "chain", &missing, "a readable file (No such file"),
        (&good.cert, &missing, "key", &missing, "a readable file (No such file"),
        (
            &authority.directory,
            &good.key,
            "chain",
            &authority.directory,
            "a readable file (Is a directory",
        ),
        (
            &good.cert,
            &good.cert,
            "key",
            &good.cert,
            "a private key in PKCS#8, PKCS#1 or SEC1 (it has none)",
        ),
        (
            &good.key,
            &good.key,
            "chain",
            &good.key,
            "certificates in PEM, or one in DER (it has none)",
        ),
        (&good.cert, &other.key, "key", &other.key, "the private key of the first certificate in "),
        (&ca, &good.key, "key", &good.key, "the private key of the first certificate in "),
        (
            &expired.cert,
            &expired.key,
            "chain",
            &expired.cert,
            "a certificate that has not expired, as on ",
        ),
        (
            &future.cert,
            &future.key,
            "chain",
            &future.cert,
            "a certificate that is valid already, not from ",
        ),
        (
            &nameless.cert,
            &nameless.key,
            "chain",
            &nameless.cert,
            "a certificate with a DNS name among ",
        ),
        (&good.cert, &encrypted, "key", &encrypted, "a private key that is not encrypted"),
        (&good.cert, &legacy, "key", &legacy, "a private key that is not encrypted"),
        (&truncated, &good.key, "chain", &truncated, "certificates in PEM, or one in DER ("),
        (&garbage, &good.key, "chain", &garbage, "certificates in PEM, or one in DER ("),
        (&noise, &good.key, "chain", &noise, "certificates that can be parsed"),
        (&empty, &good.key, "chain", &empty, "certificates in PEM, or one in DER (it is empty)"),
        (&good.cert, &empty, "key", &empty, "a private key in PKCS#8, PKCS#1 or SEC1 ("),
        (&good.cert, &noise, "key", &noise, "a private key "),
    ] {
        let error = certificates()
            .default_certificate(good.files())
            .certificate(other.files())
            .certificate(Certificate::files(chain, key))
            .build()
            .unwrap_err();
        assert_eq!(error.field(), format!("certificates[1].{field}"), "{error}");
        assert_eq!(error.value(), Some(&*names.display().to_string()), "{error}");
        assert!(error.expected().starts_with(says), "{error}");
    }
    let error = |built: Result<Certificates, ConfigError>| built.unwrap_err().to_string();
    let none = error(certificates().build());
    assert!(none.starts_with("`default_certificate`: expected at least one"), "{none}");
    let none = error(certificates().unknown_name(UnknownName::Refuse).build());
    assert!(none.starts_with("`certificates`: expected at least one"), "{none}");
    let named = error(certificates().default_certificate(good.files().names(["a b"])).build());
    assert!(
        named.starts_with("`default_certificates[0].names` is a b: expected DNS names"),
        "{named}"
    );
    let bytes = error(
        certificates().default_certificate(Certificate::pem(good_pem.clone(), "key")).build(),
    );
    assert!(bytes.starts_with("`default_certificates[0].key`: expected a private key"), "{bytes}");
    // A default certificate needs no name, and one file can have both.
    assert!(certificates().default_certificate(nameless.files()).build().is_ok());
    let both = [good_pem.clone(), key_pem.clone()].concat();
    assert!(
        certificates().default_certificate(Certificate::pem(both.clone(), both)).build().is_ok()
    );
    let key = rustls::pki_types::PrivateKeyDer::try_from(der(&key_pem)).unwrap();
    let chain = vec![der(&good_pem).into()];
    assert!(certificates().default_certificate(Certificate::der(chain, key)).build().is_ok());
    let (cert, key) = (file("good.der", &der(&good_pem)), file("key.der", &der(&key_pem)));
    assert!(certificates().default_certificate(Certificate::files(cert, key)).build().is_ok());
}

fn der(pem: &[u8]) -> Vec<u8> {
    use base64::Engine;

    let text = String::from_utf8(pem.to_vec()).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

#[test]
fn debug_shows_no_key() {
    let authority = Authority::new("debug");
    let issued = authority.issue("good", &["good.example"]);
    let (cert, key) = (fs::read(&issued.cert).unwrap(), fs::read(&issued.key).unwrap());
    let secret = String::from_utf8(key.clone()).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let certificate = Certificate::pem(cert, key.clone());
    let mut shown = format!("{certificate:?}");
    let builder = certificates().default_certificate(certificate).certificate(issued.files());
    shown += &format!("{builder:#?}");
    let certificates = builder.build().unwrap();
    shown += &format!("{certificates:#?} {:?}", certificates.list());
    let builder = ServerTls::builder(certificates);
    shown += &format!("{builder:#?}");
    shown += &format!("{:#?}", builder.build().unwrap());
    assert!(shown.contains("good.example") && shown.contains("good.key"), "{shown}");
    let bytes = format!("{:?}", &der(&key)[40..60]);
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(
        !shown.contains(secret) && !shown.contains(bytes) && !shown.contains("BEGIN"),
        "{shown}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_are_errors_and_never_panic(
        at in 0_usize..1200,
        byte in any::<u8>(),
        cut in 0_usize..1200,
        is_key in any::<bool>(),
    ) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let mut parts = [made.cert.der().to_vec(), made.signing_key.serialize_der()];
        let part = &mut parts[usize::from(is_key)];
        let at = at % part.len();
        part[at] = byte;
        part.truncate(cut.max(1));
        let [cert, key] = parts;
        let _ = certificates().default_certificate(Certificate::pem(cert, key)).build();
    }
}

/// The provider is the application's, and a missing one is an error.
#[test]
fn the_crypto_provider_is_chosen_by_the_application() {
    let authority = Authority::new("provider");
    let issued = authority.issue("good", &["good.example"]);
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let error =
            Certificates::builder().default_certificate(issued.files()).build().unwrap_err();
        assert_eq!(error.field(), "crypto_provider");
    }
    let mut none = (*provider()).clone();
    none.cipher_suites.clear();
    let certificates = Certificates::builder().crypto_provider(none.into());
    let certificates = certificates.default_certificate(issued.files()).build().unwrap();
    let error = ServerTls::builder(certificates).build().unwrap_err();
    assert_eq!((error.field(), error.value()), ("crypto_provider", Some("intermediate")));
}
