use std::{
    fmt,
    future::{Future, IntoFuture, poll_fn},
    sync::Arc,
};

use tower_service::Service;

use super::{
    ClientStream,
    task::{Opened, OpenedIo, Protocol},
};
use crate::{
    BoxError,
    listener::{
        ProxyHeader,
        status::{Closing, End},
    },
    tcp::{Connection, Stream},
};
#[cfg(feature = "tls")]
use crate::{
    listener::tls::{ClientCertificate, TlsDetails},
    tcp::{ClientIdentity, ClientTls},
};

/// A service that a [`Listener`](crate::listener::Listener) can give its connections to: every
/// service of [`Connection`] whose response is a future, as a [`Relay`](crate::tcp::Relay) and a
/// balancer of relays are. It is implemented for all such services.
///
/// The listener clones the service for each connection. It awaits the response of the service, and
/// then the future that is the response, which does the work. If the service fails, the connection
/// is reset.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot serve the connections of a listener",
    note = "`serve_connections` serves `Service<tower_lb::tcp::Connection>` whose response is a \
            `Send` future, that is `Clone + Send + 'static` and has a `Send + 'static` future"
)]
pub trait ConnectionService: Clone + Send + 'static {
    #[doc(hidden)]
    type Work: Future + Send;

    #[doc(hidden)]
    fn begin(
        self,
        connection: Connection,
    ) -> impl Future<Output = Result<Self::Work, BoxError>> + Send;
}

impl<S> ConnectionService for S
where
    S: Service<Connection> + Clone + Send + 'static,
    S::Response: IntoFuture<IntoFuture: Send>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Work = <S::Response as IntoFuture>::IntoFuture;

    async fn begin(mut self, connection: Connection) -> Result<Self::Work, BoxError> {
        poll_fn(|cx| self.poll_ready(cx)).await.map_err(Into::into)?;
        let response = self.call(connection).await.map_err(Into::into)?;
        Ok(response.into_future())
    }
}

/// Gives connections to a service, instead of requests.
///
/// [`Listener::serve_connections`](crate::listener::Listener::serve_connections) makes it.
#[derive(Clone)]
pub struct Connections<S>(pub(in crate::listener) S);

impl<S: ConnectionService> Protocol for Connections<S> {
    async fn serve(self, opened: Opened) {
        let activity = Arc::clone(&opened.activity);
        activity.ignore_bytes();
        let connection = connection(opened);
        // Its clone has the stream until the service has taken it.
        let begun = self.0.begin(connection.clone()).await;
        match begun {
            Ok(work) => {
                drop(connection);
                work.await;
            }
            Err(error) => {
                tracing::debug!(error, client = ?connection.source(), "no target for a connection");
                activity.set_end(End::Closed(Closing::Failed));
                connection.reset();
            }
        }
    }
}

fn connection(opened: Opened) -> Connection {
    let Opened { io, peer, local, proxy_header, .. } = opened;
    let connection = match io {
        OpenedIo::Plain(stream) => Connection::between(stream, peer, local.tcp()),
        #[cfg(feature = "tls")]
        OpenedIo::Tls(stream, details) => {
            Connection::between(stream, peer, local.tcp()).with_tls(client_tls(&details))
        }
    };
    match &proxy_header {
        Some(header) => described(connection, header),
        None => connection,
    }
}

/// Adds what a load balancer in front says.
fn described(connection: Connection, header: &ProxyHeader) -> Connection {
    let connection = match header.source().zip(header.destination()) {
        Some((source, destination)) => connection.with_original(source, destination),
        None => connection,
    };
    match header.extension(ProxyHeader::AWS) {
        Some(value) => connection.with_extension(ProxyHeader::AWS, value),
        None => connection,
    }
}

#[cfg(feature = "tls")]
fn client_tls(details: &TlsDetails) -> ClientTls {
    let certificate = match details.client_certificate() {
        ClientCertificate::None => ClientIdentity::None,
        ClientCertificate::Unverified(_) => ClientIdentity::Unverified,
        ClientCertificate::Verified(_) => ClientIdentity::Verified,
    };
    let mut tls = ClientTls::new(details.version(), details.cipher_suite());
    if let Some(name) = details.server_name() {
        tls = tls.with_server_name(name);
    }
    if let Some(protocol) = details.alpn() {
        tls = tls.with_alpn(protocol);
    }
    tls.with_certificate(certificate)
}

impl Stream for ClientStream {
    fn reset_on_drop(&mut self) {
        self.reset_socket();
    }
}

impl<S> fmt::Debug for Connections<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
