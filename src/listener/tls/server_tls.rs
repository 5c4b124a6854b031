use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    builder::ServerTlsBuilder, certificates::Certificates, client_auth::ClientVerifier,
    details::TlsDetails, policy::SecurityPolicy,
};
use crate::BoxError;

/// The handshakes of a listener.
///
/// Clones share the configuration, which [`replace`](Self::replace) changes for the handshakes that
/// begin afterwards. `Debug` shows no key.
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<ArcSwap<Current>>,
}

/// A configuration of a moment.
pub(super) struct Current {
    pub(super) config: Arc<ServerConfig>,
    /// The same without `h2` in ALPN, for a listener that does not serve HTTP/2.
    pub(super) without_http2: Arc<ServerConfig>,
    pub(super) clients: ClientVerifier,
    pub(super) certificates: Certificates,
    pub(super) policy: SecurityPolicy,
    /// What of the policy is missing here.
    pub(super) left_out: Vec<String>,
}

impl ServerTls {
    /// Returns a builder that serves these certificates, with the crypto provider that they have.
    #[must_use]
    pub fn builder(certificates: Certificates) -> ServerTlsBuilder {
        ServerTlsBuilder::new(certificates)
    }

    pub(super) fn new(current: Current) -> Self {
        Self { current: Arc::new(ArcSwap::from_pointee(current)) }
    }

    /// Does the handshake of a connection. It has no time limit: set one around it.
    ///
    /// # Errors
    ///
    /// If the peer does not speak TLS, does not agree on the policy, presents no certificate that
    /// is accepted, or closes the connection. The cause is an [`io::Error`](std::io::Error), often
    /// with a [`rustls::Error`] inside.
    pub async fn accept<I>(&self, io: I) -> Result<(TlsStream<I>, TlsDetails), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.accept_with(io, true).await
    }

    /// As [`accept`](Self::accept). Without `http2`, `h2` is not among the protocols of ALPN.
    pub(in crate::listener) async fn accept_with<I>(
        &self,
        io: I,
        http2: bool,
    ) -> Result<(TlsStream<I>, TlsDetails), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let current = self.current.load_full();
        let config = if http2 { &current.config } else { &current.without_http2 };
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let stream = acceptor.accept(io).await?;
        let details = current.details(stream.get_ref().1)?;
        Ok((stream, details))
    }

    /// Uses the configuration of `with` for the handshakes that begin from now on, with its
    /// certificates. Sessions that began before are resumed only by tickets, if `with` has the same
    /// keys for them and the same client authentication.
    ///
    /// Later changes of `with` have no effect on this one.
    pub fn replace(&self, with: &Self) {
        self.current.store(with.current.load_full());
    }

    /// Returns whether ALPN has `h2` and no other protocol.
    pub(in crate::listener) fn serves_http2_only(&self) -> bool {
        let current = self.current.load();
        !current.config.alpn_protocols.is_empty() && current.without_http2.alpn_protocols.is_empty()
    }

    /// Returns the handle of the certificates that are served now.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.current.load().certificates.clone()
    }

    /// Returns the security policy.
    #[must_use]
    pub fn policy(&self) -> SecurityPolicy {
        self.current.load().policy.clone()
    }

    /// Returns what the security policy names and this listener does not offer: what rustls cannot
    /// do ([`SecurityPolicy::left_out`]), and what the crypto provider does not have.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        self.current.load().left_out.clone()
    }
}

impl Current {
    fn details(&self, connection: &ServerConnection) -> Result<TlsDetails, rustls::Error> {
        use HandshakeKind::{Full, FullWithHelloRetryRequest};

        let kind = connection.handshake_kind();
        let is_verified = matches!(kind, Some(Full | FullWithHelloRetryRequest));
        let accepted = self.clients.accepted(connection.peer_certificates(), is_verified)?;
        Ok(TlsDetails::new(connection, accepted))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("ServerTls")
            .field("certificates", &current.certificates)
            .field("policy", &current.policy.name())
            .finish_non_exhaustive()
    }
}
