//! Certificates that change while clients connect.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tower_lb::listener::tls::{Certificates, ServerTls};

use super::{
    authority::{Authority, Validity, certificates, provider},
    server::Server,
};

const LIMIT: Duration = Duration::from_secs(30);

fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&authority.bundle).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Returns the certificate that a client gets.
async fn connect(connector: &TlsConnector, server: &Server) -> std::io::Result<Vec<u8>> {
    let socket = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("shop.example").unwrap();
    let stream = connector.connect(name, socket).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

fn leaf(path: &std::path::Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_fail_no_handshake() {
    let authority = Authority::new("swaps");
    let made = |file| {
        let issued = authority.issue(file, &["shop.example"]);
        certificates().default_certificate(issued.files()).build().unwrap()
    };
    let [one, two] = ["one", "two"].map(made);
    let served = made("one");
    let tls = ServerTls::builder(served.clone()).build().unwrap();
    let mut server = Server::start(&tls).await;
    let connector = connector(&authority);
    let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async {
        while !is_over.load(Ordering::Relaxed) {
            let connected = timeout(LIMIT, connect(&connector, &server)).await;
            connected.expect("a handshake in time").expect("a handshake");
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let swaps = async {
        for number in 0..100 {
            served.replace([&one, &two][number % 2]);
            if number % 10 == 0 {
                // The whole configuration, too.
                tls.replace(&ServerTls::builder(served.clone()).build().unwrap());
            }
            let before = done.load(Ordering::Relaxed);
            while done.load(Ordering::Relaxed) < before + 3 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, swaps);
    let done = done.into_inner();
    assert!(done >= 300, "{done}");
    for _ in 0..done {
        assert!(server.handshake().await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_reloaded_as_a_whole_or_not_at_all() {
    let authority = Authority::new("reload");
    let first = authority.issue("first", &["shop.example"]);
    let second = authority.issue("second", &["second.example"]);
    let built = certificates()
        .default_certificate(first.files())
        .certificate(second.files().names(["given.example"]))
        .build()
        .unwrap();
    let tls = ServerTls::builder(built.clone()).build().unwrap();
    let server = Server::start(&tls).await;
    let connector = connector(&authority);
    assert_eq!(built.reload_files(), Ok(0));
    let old = leaf(&first.cert);

    let renewed = authority.issue("renewed", &["shop.example", "more.example"]);
    fs::copy(&renewed.cert, &first.cert).unwrap();
    // The key has not been written yet.
    let error = built.reload_files().unwrap_err();
    assert_eq!(error.field(), "default_certificates[0].key");
    assert_eq!(error.value(), Some(&*first.key.display().to_string()));
    assert_eq!(connect(&connector, &server).await.unwrap(), old);
    fs::copy(&renewed.key, &first.key).unwrap();
    // One bad file keeps all.
    let good = fs::read(&second.cert).unwrap();
    fs::write(&second.cert, "").unwrap();
    assert_eq!(built.reload_files().unwrap_err().field(), "certificates[0].chain");
    assert_eq!(connect(&connector, &server).await.unwrap(), old);
    fs::write(&second.cert, good).unwrap();
    assert_eq!(built.reload_files(), Ok(1));
    assert_eq!(connect(&connector, &server).await.unwrap(), leaf(&renewed.cert));
    let list = built.list();
    assert_eq!(list[0].names, ["shop.example", "more.example"]);
    assert_eq!((list[0].is_default, list[0].algorithm), (true, "ECDSA"));
    assert_eq!(list[0].file.as_deref(), Some(&*first.cert));
    assert_eq!((&*list[1].names, list[1].is_default), (&["given.example".to_owned()][..], false));
    assert!(list[1].not_before < list[1].not_after);

    // Another that has expired is no certificate to change to.
    let expired = authority.issue_valid("expired", &["shop.example"], Validity::Past);
    fs::copy(&expired.cert, &first.cert).unwrap();
    fs::copy(&expired.key, &first.key).unwrap();
    let error = built.reload_files().unwrap_err();
    assert!(error.expected().starts_with("a certificate that has not expired"), "{error}");
    assert_eq!(connect(&connector, &server).await.unwrap(), leaf(&renewed.cert));
}

/// What has expired while it was served stays, and others can be replaced.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_does_not_block_the_others() {
    let authority = Authority::new("expires");
    let short = authority.issue_valid("short", &["short.example"], Validity::Seconds(2));
    let other = authority.issue("other", &["shop.example"]);
    let builder = || {
        let defaults = certificates().default_certificate(other.files());
        defaults.certificate(short.files().names(["short.example"]))
    };
    let served = builder().build().unwrap();
    let tls = ServerTls::builder(served.clone()).build().unwrap();
    let server = Server::start(&tls).await;
    while std::time::SystemTime::now() <= served.list()[1].not_after + Duration::from_secs(1) {
        sleep(Duration::from_millis(100)).await;
    }
    let renewed = authority.issue("renewed", &["shop.example"]);
    fs::copy(&renewed.cert, &other.cert).unwrap();
    fs::copy(&renewed.key, &other.key).unwrap();
    assert_eq!(served.reload_files(), Ok(1));
    let connector = connector(&authority);
    assert_eq!(connect(&connector, &server).await.unwrap(), leaf(&renewed.cert));

    // So it is for certificates that are built anew, if it is said what they replace.
    let error = builder().build().unwrap_err();
    assert_eq!(error.field(), "certificates[0].chain");
    assert_eq!(error.value(), Some(&*short.cert.display().to_string()));
    let again = authority.issue("again", &["shop.example"]);
    fs::copy(&again.cert, &other.cert).unwrap();
    fs::copy(&again.key, &other.key).unwrap();
    served.replace(&builder().replacing(&served).build().unwrap());
    assert_eq!(connect(&connector, &server).await.unwrap(), leaf(&again.cert));
    // Another that has expired is an error, as it is without.
    let expired = authority.issue_valid("expired", &["short.example"], Validity::Past);
    fs::copy(&expired.cert, &short.cert).unwrap();
    fs::copy(&expired.key, &short.key).unwrap();
    for error in
        [served.reload_files().unwrap_err(), builder().replacing(&served).build().unwrap_err()]
    {
        assert_eq!(error.field(), "certificates[0].chain");
        assert!(error.expected().starts_with("a certificate that has not expired"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_noticed() {
    let authority = Authority::new("watch");
    let first = authority.issue("first", &["shop.example"]);
    let built = certificates().default_certificate(first.files()).build().unwrap();
    assert!(built.watch_files(Duration::ZERO).is_err());
    let every = Duration::from_millis(20);
    let watching = tokio::spawn(built.watch_files(every).unwrap());
    let names = async |certificates: &Certificates, expected: &[&str]| {
        let changed = async {
            while certificates.list()[0].names != expected {
                sleep(every).await;
            }
        };
        timeout(LIMIT, changed).await.expect("a reload");
    };
    names(&built, &["shop.example"]).await;
    // The file system's clock may be coarse.
    sleep(Duration::from_millis(50)).await;
    let second = authority.issue("second", &["shop.example", "second.example"]);
    fs::copy(&second.cert, &first.cert).unwrap();
    sleep(every * 5).await;
    assert_eq!(built.list()[0].names, ["shop.example"]);
    fs::copy(&second.key, &first.key).unwrap();
    names(&built, &["shop.example", "second.example"]).await;

    // By renaming, and after the file was gone for a while.
    let third = authority.issue("third", &["third.example"]);
    fs::remove_file(&first.cert).unwrap();
    sleep(every * 5).await;
    fs::rename(&third.key, &first.key).unwrap();
    fs::rename(&third.cert, &first.cert).unwrap();
    names(&built, &["third.example"]).await;

    assert!(!watching.is_finished());
    drop(built);
    timeout(LIMIT, watching).await.expect("the end of the watch").unwrap();
}
