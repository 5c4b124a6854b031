//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them until it is stopped.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};
use tower_lb::{BoxError, http::ClientConnection};

/// How long a client may take for the head of a request, be idle before the next one, or take for
/// the TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that the head of a request may have. The proxy has a lower limit.
const MAX_HEAD: usize = 96 * 1024;
/// The pause after `accept` has failed for lack of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The handler of the requests of one client.
pub(crate) trait Serve<B>:
    Service<
        Request<Incoming>,
        Response = Response<B>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<S, B> Serve<B> for S where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await?, tls })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` is ready, and closes the listening socket then. The result drains the
    /// connections that are still open.
    pub(crate) async fn serve<S, B>(
        self,
        service: S,
        stop: impl Future<Output = ()>,
    ) -> GracefulShutdown
    where
        S: Serve<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let connections = GracefulShutdown::new();
        let http = Arc::new(http());
        let mut stop = pin!(stop);
        loop {
            let (stream, peer) = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) if concerns_one_connection(&error) => continue,
                    // The connections that are not accepted wait in the kernel's queue. At once,
                    // the next attempt would fail as well.
                    Err(error) => {
                        tracing::error!(%error, "no connection can be accepted");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                () = &mut stop => return connections,
            };
            // A connection without an address has been closed already.
            let Ok(local) = stream.local_addr() else { continue };
            let client = ClientConnection::new(peer, local).tls(self.tls.is_some());
            let connection =
                Connection { http: http.clone(), client, watcher: connections.watcher() };
            tokio::spawn(connection.serve(stream, self.tls.clone(), service.clone()));
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The settings of hyper's servers. Without a timer, no time limit would have an effect.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        // An HTTP/2 client that is gone without a word is found by a ping.
        .keep_alive_interval(HEAD_TIMEOUT)
        .keep_alive_timeout(HEAD_TIMEOUT)
        .enable_connect_protocol();
    http
}

struct Connection {
    http: Arc<auto::Builder<TokioExecutor>>,
    client: ClientConnection,
    watcher: Watcher,
}

impl Connection {
    async fn serve<S, B>(self, stream: TcpStream, tls: Option<TlsAcceptor>, service: S)
    where
        S: Serve<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let peer = self.client.peer();
        let _ = stream.set_nodelay(true);
        let result = match tls {
            None => self.serve_http(TokioIo::new(stream), service).await,
            Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.serve_http(TokioIo::new(stream), service).await,
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err("the client did not complete the TLS handshake in time".into()),
            },
        };
        if let Err(error) = result {
            tracing::debug!(%peer, error, "a connection has failed");
        }
    }

    async fn serve_http<I, S, B>(self, io: I, service: S) -> Result<(), BoxError>
    where
        I: Read + Write + Unpin + Send + 'static,
        S: Serve<B>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let first_request = Arc::new(Notify::new());
        let service = service_fn({
            let first_request = first_request.clone();
            let client = self.client;
            move |mut request: Request<Incoming>| {
                first_request.notify_one();
                // The proxy tells the backends where a request came from.
                request.extensions_mut().insert(client.clone());
                service.clone().oneshot(request)
            }
        });
        let connection = self.http.serve_connection_with_upgrades(io, service);
        let mut connection = pin!(self.watcher.watch(connection));
        // hyper limits the time for a head once it knows the version. Nothing else limits the time
        // until then, which is the client's to take.
        let first = async {
            tokio::select! {
                result = &mut connection => Some(result),
                () = first_request.notified() => None,
            }
        };
        match timeout(HEAD_TIMEOUT, first).await {
            Ok(Some(result)) => result,
            Ok(None) => connection.await,
            Err(_) => Err("the client did not send a request in time".into()),
        }
    }
}
