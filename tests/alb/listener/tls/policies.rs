//! What security policies offer.

use tower_lb::listener::tls::{SecurityPolicy, ServerTls};

use super::{
    authority::{Authority, certificates},
    peer::{self, has_openssl, is_connected},
    server::Server,
};

/// Each row: a policy, a client, and what they agree on.
#[tokio::test(flavor = "multi_thread")]
async fn openssl_gets_what_the_policy_offers() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("policies");
    let ecdsa = authority.issue("ecdsa", &["shop.example"]);
    let Some(rsa) = authority.issue_rsa("rsa", &["shop.example"]) else { return };
    let certificates = certificates()
        .default_certificate(ecdsa.files())
        .default_certificate(rsa.files())
        .build()
        .unwrap();
    let alb = |name: &str| SecurityPolicy::alb(&format!("ELBSecurityPolicy-{name}")).unwrap();
    let tls12 = |cipher: &'static str| vec!["-tls1_2", "-cipher", cipher];
    let tls13 = |suite: &'static str| vec!["-tls1_3", "-ciphersuites", suite];
    let refused = None;
    for (policy, client, agreed) in [
        (
            alb("TLS13-1-2-Res-2021-06"),
            tls12("ECDHE-ECDSA-AES128-GCM-SHA256"),
            Some("ECDHE-ECDSA-AES128-GCM-SHA256"),
        ),
        (
            alb("TLS13-1-2-Res-2021-06"),
            tls12("ECDHE-RSA-AES256-GCM-SHA384"),
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        // The server chooses.
        (
            alb("TLS13-1-2-Res-2021-06"),
            tls12("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"),
            Some("ECDHE-RSA-AES128-GCM-SHA256"),
        ),
        (
            alb("TLS13-1-2-Res-2021-06"),
            tls13("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"),
            Some("TLS_AES_128_GCM_SHA256"),
        ),
        (alb("TLS13-1-2-Res-2021-06"), tls12("ECDHE-RSA-CHACHA20-POLY1305"), refused),
        (
            alb("TLS13-1-2-Res-2021-06"),
            tls13("TLS_CHACHA20_POLY1305_SHA256"),
            Some("TLS_CHACHA20_POLY1305_SHA256"),
        ),
        (alb("TLS13-1-2-Ext2-2021-06"), tls12("ECDHE-RSA-AES128-SHA"), refused),
        (alb("TLS13-1-2-Ext2-2021-06"), tls12("AES128-GCM-SHA256"), refused),
        (alb("TLS13-1-3-2021-06"), tls12("ALL"), refused),
        (alb("TLS13-1-3-2021-06"), tls13("TLS_AES_256_GCM_SHA384"), Some("TLS_AES_256_GCM_SHA384")),
        (alb("FS-1-2-Res-2020-10"), vec!["-tls1_3"], refused),
        (alb("FS-1-2-Res-2020-10"), vec![], Some("ECDHE-ECDSA-AES128-GCM-SHA256")),
        (alb("2016-08"), vec!["-tls1_1"], refused),
        (
            alb("TLS13-1-2-Res-PQ-2025-09"),
            vec!["-groups", "X25519"],
            Some("TLS_AES_128_GCM_SHA256"),
        ),
        (SecurityPolicy::modern(), tls12("ALL"), refused),
        (SecurityPolicy::modern(), vec![], Some("TLS_AES_256_GCM_SHA384")),
        (
            SecurityPolicy::intermediate(),
            tls12("ECDHE-RSA-CHACHA20-POLY1305"),
            Some("ECDHE-RSA-CHACHA20-POLY1305"),
        ),
        // The client chooses.
        (
            SecurityPolicy::intermediate(),
            tls12("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"),
            Some("ECDHE-RSA-AES256-GCM-SHA384"),
        ),
    ] {
        let name = policy.name().to_owned();
        let tls = ServerTls::builder(certificates.clone()).policy(policy).build().unwrap();
        let mut server = Server::start(&tls).await;
        let told = peer::openssl(server.address, &client).await;
        assert_eq!(is_connected(&told), agreed.is_some(), "{name} {client:?}: {told}");
        if let Some(agreed) = agreed {
            assert!(told.contains(&format!("Cipher is {agreed}\n")), "{name} {client:?}: {told}");
            let details = server.handshake().await.unwrap();
            assert_eq!(details.cipher_suite(), agreed);
            assert!(told.contains(&format!("x-amzn-tls-cipher-suite: {agreed}\n")), "{told}");
            let version = if agreed.starts_with("TLS") { "TLSv1.3" } else { "TLSv1.2" };
            assert_eq!(details.version(), version);
            assert!(told.contains(&format!("x-amzn-tls-version: {version}\n")), "{told}");
        }
    }
}

#[test]
fn what_is_missing_is_reported() {
    let authority = Authority::new("missing");
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    for name in SecurityPolicy::alb_names() {
        let policy = SecurityPolicy::alb(name).unwrap();
        let expected = policy.left_out().to_vec();
        let built = ServerTls::builder(certificates.clone()).policy(policy).build();
        // ring has no FIPS mode, and no post-quantum key exchange.
        if name.contains("FIPS") {
            let error = built.unwrap_err();
            assert_eq!((error.field(), error.value()), ("policy", Some(name)));
            continue;
        }
        let left_out = built.unwrap().left_out();
        assert!(
            left_out.starts_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>())
        );
        let hybrids = ["X25519MLKEM768", "secp256r1MLKEM768"];
        let missing: Vec<_> = left_out[expected.len()..].iter().map(String::as_str).collect();
        assert_eq!(missing, if name.contains("PQ") { &hybrids[..] } else { &[] }, "{name}");
    }
    assert!(ServerTls::builder(certificates.clone()).build().unwrap().left_out().is_empty());
    let error = SecurityPolicy::alb("ELBSecurityPolicy-2016-09\n").unwrap_err();
    assert!(error.to_string().contains("is ELBSecurityPolicy-2016-09\\n: expected"), "{error}");
    for protocol in [vec![], vec![b'a'; 256]] {
        let error = ServerTls::builder(certificates.clone()).alpn([protocol]).build().unwrap_err();
        assert_eq!(error.field(), "alpn");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn protocols_are_negotiated() {
    if !has_openssl() {
        return;
    }
    let authority = Authority::new("alpn");
    let issued = authority.issue("shop", &["shop.example"]);
    let certificates = certificates().default_certificate(issued.files()).build().unwrap();
    let start = async |protocols: &[&str]| {
        let tls = ServerTls::builder(certificates.clone()).alpn(protocols.iter().copied());
        Server::start(&tls.build().unwrap()).await
    };
    let both = ["h2", "http/1.1"];
    for (offered, client, agreed) in [
        (&both[..], "h2,http/1.1", Some("h2")),
        (&both, "http/1.1,h2", Some("h2")),
        (&both, "http/1.1", Some("http/1.1")),
        (&["http/1.1"], "h2,http/1.1", Some("http/1.1")),
        (&["http/1.1"], "h2", None),
    ] {
        let mut server = start(offered).await;
        let told = peer::handshake(server.address, &["-alpn", client]).await;
        match agreed {
            Some(agreed) => {
                assert!(told.contains(&format!("ALPN protocol: {agreed}\n")), "{told}");
                let details = server.handshake().await.unwrap();
                assert_eq!(details.alpn(), Some(agreed.as_bytes()));
            }
            None => assert!(told.contains("no application protocol"), "{told}"),
        }
    }
    for (offered, client) in [(&both[..], &[][..]), (&[], &["-alpn", "h2"])] {
        let mut server = start(offered).await;
        let told = peer::handshake(server.address, client).await;
        assert!(told.contains("No ALPN negotiated"), "{told}");
        assert_eq!(server.handshake().await.unwrap().alpn(), None);
    }
}
