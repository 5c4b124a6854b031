use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    CipherSuite, HandshakeKind, ProtocolVersion, ServerConnection, pki_types::CertificateDer,
};

use super::fields::CertificateFields;
use crate::opaque::Opaque;

/// What the handshake of a connection has agreed on, an extension of its requests.
///
/// Clones share everything. `Debug` shows how many certificates the client has presented, and
/// nothing of them.
#[derive(Clone, Debug)]
pub struct TlsDetails {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    version: &'static str,
    cipher_suite: &'static str,
    server_name: Option<Box<str>>,
    alpn: Option<Box<[u8]>>,
    is_resumed: bool,
    client_certificate: ClientCertificate,
    /// Made by the first request that needs them.
    fields: OnceLock<Opaque<CertificateFields>>,
}

/// The certificate that a client has presented, with the chain that it has sent: the certificate
/// first. The client has proved that it has the private key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificate {
    /// None was asked for, or presented.
    None,
    /// Any certificate ([`ClientAuth::Passthrough`](super::ClientAuth::Passthrough)): each name in
    /// it is only a claim.
    Unverified(Vec<CertificateDer<'static>>),
    /// One that the trust store has verified ([`ClientAuth::Verify`](super::ClientAuth::Verify)).
    Verified(Vec<CertificateDer<'static>>),
}

impl TlsDetails {
    pub(super) fn new(
        connection: &ServerConnection,
        client_certificate: ClientCertificate,
    ) -> Self {
        let cipher_suite = connection.negotiated_cipher_suite();
        let inner = Inner {
            version: version_name(connection.protocol_version()),
            cipher_suite: cipher_suite.map_or("unknown", |suite| cipher_suite_name(suite.suite())),
            server_name: connection.server_name().map(Into::into),
            alpn: connection.alpn_protocol().map(Into::into),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate,
            fields: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the version in OpenSSL's words: `TLSv1.3` or `TLSv1.2`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.inner.version
    }

    /// Returns the cipher suite in OpenSSL's words, such as `TLS_AES_128_GCM_SHA256` or
    /// `ECDHE-RSA-AES128-GCM-SHA256`.
    #[must_use]
    pub fn cipher_suite(&self) -> &'static str {
        self.inner.cipher_suite
    }

    /// Returns the name that the client has asked for (SNI), in lower case.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.inner.server_name.as_deref()
    }

    /// Returns the protocol that was agreed on, such as `h2`, if the client has offered any.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.inner.alpn.as_deref()
    }

    /// Returns whether the client has resumed an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.inner.is_resumed
    }

    /// Returns what the client has presented.
    #[must_use]
    pub fn client_certificate(&self) -> &ClientCertificate {
        &self.inner.client_certificate
    }

    /// Returns the values of header fields about the certificate.
    pub(super) fn certificate_fields(&self) -> &CertificateFields {
        let of_certificate = || Opaque(CertificateFields::of(&self.inner.client_certificate));
        &self.inner.fields.get_or_init(of_certificate).0
    }
}

impl ClientCertificate {
    /// Returns the chain, verified or not. It is empty if there is no certificate.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        match self {
            Self::None => &[],
            Self::Unverified(chain) | Self::Verified(chain) => chain,
        }
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Unverified(chain) => write!(f, "Unverified({} certificates)", chain.len()),
            Self::Verified(chain) => write!(f, "Verified({} certificates)", chain.len()),
        }
    }
}

fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "unknown",
    }
}

/// Returns OpenSSL's name. Those of TLS 1.3 are the ones of IANA there, too.
pub(super) fn cipher_suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        // A provider may have suites of its own.
        other => other.as_str().unwrap_or("unknown"),
    }
}
