//! TLS, for the listener and to backends.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;
use tower_lb::{BoxError, http::Pool};

use super::options::TlsFiles;

/// Reads the certificate chain and its key, and offers HTTP/2 before HTTP/1.1.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, BoxError> {
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| format!("--tls-cert {}: {error}", files.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("--tls-key {}: {error}", files.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("--tls-cert and --tls-key: {error}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Lets a pool speak TLS, if this is built with it. Without, the options refuse such backends.
pub(crate) fn to_backends(pool: Pool) -> Result<Pool, BoxError> {
    #[cfg(feature = "tls")]
    let pool = {
        let provider = Arc::new(ring::default_provider());
        pool.tls(tower_lb::http::Tls::builder().crypto_provider(provider).build()?)
    };
    Ok(pool)
}
