//! TLS, for the listener and to backends.

use std::sync::Arc;

use rustls::crypto::ring;
use tower_lb::{
    BoxError,
    http::Pool,
    listener::tls::{Certificate, Certificates, ServerTls},
};

use super::options::TlsFiles;

/// Reads the certificate chain and its key. ALPN offers HTTP/2 before HTTP/1.1.
pub(crate) fn of_listener(files: &TlsFiles) -> Result<ServerTls, BoxError> {
    let certificates = Certificates::builder()
        .default_certificate(Certificate::files(&files.cert, &files.key))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| format!("--tls-cert and --tls-key: {error}"))?;
    Ok(ServerTls::builder(certificates).build()?)
}

/// Lets a pool speak TLS.
pub(crate) fn to_backends(pool: Pool) -> Result<Pool, BoxError> {
    let provider = Arc::new(ring::default_provider());
    Ok(pool.tls(tower_lb::http::Tls::builder().crypto_provider(provider).build()?))
}
