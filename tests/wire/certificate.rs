//! A certificate for `localhost` and `127.0.0.1`, which the clients of these tests trust.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

use crate::backend::Speaks;

pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client: Arc<ClientConfig>,
    server: ServerConfig,
}

impl Certificate {
    /// Creates a certificate in files of their own.
    pub(crate) fn new(test: &str) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "shop.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("wire-{test}"));
        fs::create_dir_all(&directory).unwrap();
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        // HAProxy reads both from one file.
        let both = made.cert.pem() + &made.signing_key.serialize_pem();
        fs::write(directory.join("both.pem"), both).unwrap();

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let private =
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], private)
            .unwrap();
        Self { cert, key, client: Arc::new(client), server }
    }

    /// TLS for a backend that speaks one protocol.
    pub(crate) fn acceptor(&self, speaks: Speaks) -> TlsAcceptor {
        let mut config = self.server.clone();
        let alpn: &[u8] = if speaks == Speaks::Http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// For clients without TLS.
pub(crate) fn none() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Arc::new(config)
}
