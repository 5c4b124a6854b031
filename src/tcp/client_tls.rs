use std::fmt;

/// What the TLS handshake with a client has agreed on, as far as targets learn of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    version: Box<str>,
    cipher_suite: Box<str>,
    server_name: Option<Box<str>>,
    alpn: Option<Box<[u8]>>,
    certificate: ClientIdentity,
}

/// Whether the client has presented a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientIdentity {
    /// It has presented none.
    None,
    /// It has presented a certificate that was not verified.
    Unverified,
    /// It has presented a certificate that was verified.
    Verified,
}

impl ClientTls {
    /// Creates the result of a handshake without a certificate. `version` and `cipher_suite` are in
    /// OpenSSL's words, such as `TLSv1.3` and `TLS_AES_128_GCM_SHA256`.
    #[must_use]
    pub fn new(version: impl Into<Box<str>>, cipher_suite: impl Into<Box<str>>) -> Self {
        Self {
            version: version.into(),
            cipher_suite: cipher_suite.into(),
            server_name: None,
            alpn: None,
            certificate: ClientIdentity::None,
        }
    }

    setters! {
        /// Sets the name that the client has asked for (SNI), in lower case. Default none.
        pub fn with_server_name(name: impl Into<Box<str>>) => server_name = Some(name.into());
        /// Sets the application protocol that was agreed on. Default none.
        pub fn with_alpn(protocol: impl Into<Box<[u8]>>) => alpn = Some(protocol.into());
        /// Sets whether the client has presented a certificate. Default
        /// [`ClientIdentity::None`].
        pub fn with_certificate(certificate: ClientIdentity) => certificate = certificate;
    }

    /// Returns the version of TLS, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the cipher suite in OpenSSL's words.
    #[must_use]
    pub fn cipher_suite(&self) -> &str {
        &self.cipher_suite
    }

    /// Returns the name that the client has asked for (SNI).
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Returns the application protocol that was agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Returns whether the client has presented a certificate.
    #[must_use]
    pub fn certificate(&self) -> ClientIdentity {
        self.certificate
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("version", &self.version)
            .field("cipher_suite", &self.cipher_suite)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
