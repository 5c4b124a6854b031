use std::{fmt, io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{pool::Protocol, unverified::Unverified};
use crate::{
    ConfigError, crypto_provider,
    error::{ClientError, ClientErrorKind},
    http::Origin,
};

/// How a [`Pool`](crate::http::Pool) speaks TLS to endpoints: which certificates it trusts, and
/// which one it presents.
///
/// The certificate of an endpoint is verified for the host of its [`Origin`], which is also sent as
/// SNI. For an endpoint whose address comes from elsewhere, see [`Origin::at`].
///
/// rustls needs a crypto provider, which the application selects: once for the process by
/// [`CryptoProvider::install_default`], or by [`TlsBuilder::crypto_provider`].
///
/// ```
/// use tower_lb::http::{Origin, Pool, Tls};
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// // With the feature `ring` of rustls:
/// // rustls::crypto::ring::default_provider().install_default()
/// let pool = Pool::new().tls(Tls::builder().build()?);
/// let shop: Origin = "https://shop.example".parse()?;
/// let endpoint = shop.at("10.0.0.1:8443".parse()?);
/// # let _ = pool.client::<String>(endpoint);
/// # Ok(()) }
/// ```
///
/// # Changes at runtime
///
/// Clones share the configuration. [`replace`](Self::replace) changes it for the connections that
/// are opened afterwards. Set [`Pool::max_connection_age`](crate::http::Pool::max_connection_age)
/// to end those that were opened before.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ArcSwap<ClientConfig>>,
}

/// Builds a [`Tls`].
#[derive(Default)]
pub struct TlsBuilder {
    roots: Option<RootCertStore>,
    client_certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    provider: Option<Arc<CryptoProvider>>,
    verification: Verification,
}

/// Whether the certificate of an endpoint is verified.
#[derive(Clone, Copy, Default)]
enum Verification {
    #[default]
    On,
    Off,
}

impl Tls {
    /// Uses a configuration of rustls, for what [`builder`](Self::builder) does not offer. The pool
    /// replaces its list of protocols (ALPN).
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self { config: Arc::new(ArcSwap::from_pointee(config)) }
    }

    /// Trusts the certificates that the platform trusts, and presents none.
    #[must_use]
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Uses the configuration of `with` for the connections that are opened from now on, by this
    /// one and its clones.
    pub fn replace(&self, with: &Self) {
        self.config.store(with.config.load_full());
    }

    /// Returns the present configuration, without the names of protocols.
    #[cfg(feature = "clb")]
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.load_full()
    }

    /// Returns the stream and the negotiated protocol.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        origin: &Origin,
        protocol: Option<Protocol>,
        deadline: Instant,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, Protocol), ClientError> {
        let error = |error: io::Error| ClientError::new(ClientErrorKind::Tls, error);
        let name = ServerName::try_from(origin.host_name().to_owned())
            .map_err(|invalid| error(io::Error::new(io::ErrorKind::InvalidInput, invalid)))?;
        let connector = TlsConnector::from(self.offering(protocol));
        let stream = match timeout_at(deadline, connector.connect(name, stream)).await {
            Ok(stream) => stream.map_err(error)?,
            Err(_elapsed) => {
                let message = format!("no TLS handshake within {limit:?}");
                return Err(error(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
        };
        match (stream.get_ref().1.alpn_protocol(), protocol) {
            (Some(H2), _) => Ok((stream, Protocol::Http2)),
            (_, Some(Protocol::Http2)) => {
                Err(error(io::Error::other("the endpoint does not accept HTTP/2 (ALPN)")))
            }
            _ => Ok((stream, Protocol::Http1)),
        }
    }

    /// Returns the configuration with the names of the protocols.
    fn offering(&self, protocol: Option<Protocol>) -> Arc<ClientConfig> {
        // A copy shares everything that is large, and the sessions that can be resumed.
        let mut config = ClientConfig::clone(&self.config.load());
        let names: &[&[u8]] = match protocol {
            Some(Protocol::Http1) => &[HTTP1],
            Some(Protocol::Http2) => &[H2],
            None => &[H2, HTTP1],
        };
        config.alpn_protocols = names.iter().map(|&name| name.to_vec()).collect();
        Arc::new(config)
    }
}

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

impl TlsBuilder {
    setters! {
        /// Trusts these certificates only: your own, or those of the crate `webpki-roots`. By
        /// default, what the platform trusts.
        pub fn roots(roots: RootCertStore) => roots = Some(roots);
        /// Uses this provider. By default, that of the process.
        pub fn crypto_provider(provider: Arc<CryptoProvider>) => provider = Some(provider);
    }

    /// Accepts any certificate of an endpoint, as AWS's load balancers do. Traffic is encrypted,
    /// but an attacker who can answer at the address of an endpoint can read and change it.
    /// Default: the certificate is verified.
    #[must_use]
    pub fn without_verification(mut self) -> Self {
        self.verification = Verification::Off;
        self
    }

    /// Presents a certificate to endpoints that ask for one: the chain, the certificate itself
    /// first, and its key. By default none.
    #[must_use]
    pub fn client_certificate(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.client_certificate = Some((chain, key));
        self
    }

    /// Builds the configuration. Loads the platform's certificates, if they are used.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if there is no crypto provider, the certificates of the platform cannot be
    /// loaded, or the key does not fit the client certificate.
    pub fn build(self) -> Result<Tls, ConfigError> {
        let provider = crypto_provider::or_process_default(self.provider)?;
        let unverified = Unverified::new(&provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| {
                ConfigError::new("crypto_provider", "one with TLS 1.2 or 1.3").with_value(error)
            })?;
        let builder = match (self.verification, self.roots) {
            (Verification::Off, _) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(unverified))
            }
            (Verification::On, Some(roots)) => builder.with_root_certificates(roots),
            (Verification::On, None) => builder.with_platform_verifier().map_err(|error| {
                ConfigError::new("roots", "certificates of the platform").with_value(error)
            })?,
        };
        let config = match self.client_certificate {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
                ConfigError::new("client_certificate", "a certificate and its key")
                    .with_value(error)
            })?,
        };
        Ok(Tls::new(config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder").finish_non_exhaustive()
    }
}
