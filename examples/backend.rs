//! An HTTP backend on loopback that can be stopped and restarted on the same port.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// An HTTP server that responds to every request with its name, after a delay.
#[derive(Debug)]
pub struct Backend {
    /// The body of every response.
    pub name: &'static str,
    /// The address of the server, which stays the same after a restart.
    pub address: SocketAddr,
    latency: Duration,
    server: AbortHandle,
}

impl Backend {
    /// Starts a server on a free port.
    pub async fn start(name: &'static str, latency: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(serve(listener, name, latency)).abort_handle();
        Ok(Self { name, address, latency, server })
    }

    /// Closes all connections and accepts no new ones, like a killed process.
    pub fn kill(&self) {
        self.server.abort();
    }

    /// Restarts the server on its previous port.
    pub async fn restart(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.server = tokio::spawn(serve(listener, self.name, self.latency)).abort_handle();
        Ok(())
    }
}

async fn serve(listener: TcpListener, name: &'static str, latency: Duration) {
    // Aborting this future drops the set, which closes all connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            let respond = service_fn(|_request| async move {
                sleep(latency).await;
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
            });
            let mut server = http1::Builder::new();
            let _ = server
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), respond)
                .await;
        });
    }
}
