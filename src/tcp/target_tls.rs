use std::{fmt, io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How relays speak TLS to targets.
///
/// The configuration of rustls decides which certificates are trusted, which one is presented and
/// which protocols (ALPN) are offered. Offer those that the listener offers to clients: the bytes
/// of the client's protocol are passed on as they are.
#[derive(Clone)]
pub struct TargetTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl TargetTls {
    /// Uses a configuration. The certificate of a target is verified for the name that the client
    /// has asked for (SNI), or for the address of the target if it has asked for none.
    pub fn new(config: impl Into<Arc<ClientConfig>>) -> Self {
        Self { config: config.into(), server_name: None }
    }

    setters! {
        /// Verifies the certificates of all targets for this name, which is also sent as SNI.
        pub fn server_name(name: ServerName<'static>) => server_name = Some(name);
    }

    /// Completes the TLS handshake with a target. `asked` is the server name that the client has
    /// sent, if there is one.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        target: SocketAddr,
        asked: Option<&str>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.server_name.clone().unwrap_or_else(|| {
            let asked = asked.map(str::to_owned);
            let asked = asked.and_then(|name| ServerName::try_from(name).ok());
            asked.unwrap_or_else(|| ServerName::IpAddress(target.ip().into()))
        });
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}

impl fmt::Debug for TargetTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
