//! An HTTP backend on loopback that can be killed and started again on the same port.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// An HTTP server that answers every request with its name, after a delay.
#[derive(Debug)]
pub struct Backend {
    /// What it answers.
    pub name: &'static str,
    /// Where it listens; the same after a restart.
    pub address: SocketAddr,
    latency: Duration,
    server: AbortHandle,
}

impl Backend {
    /// Starts on any free port.
    pub async fn start(name: &'static str, latency: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(serve(listener, name, latency)).abort_handle();
        Ok(Self { name, address, latency, server })
    }

    /// Cuts all connections, and accepts no more, as a killed process does.
    pub fn kill(&self) {
        self.server.abort();
    }

    /// Starts again, on the port it had.
    pub async fn restart(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.server = tokio::spawn(serve(listener, self.name, self.latency)).abort_handle();
        Ok(())
    }
}

async fn serve(listener: TcpListener, name: &'static str, latency: Duration) {
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        connections.spawn(async move {
            let answer = service_fn(|_request| async move {
                sleep(latency).await;
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name)))
            });
            let mut server = http1::Builder::new();
            let _ = server
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
