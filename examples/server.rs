//! Serves a `Service` by hyper, on a thread pool of tokio's.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, time::sleep};
use tower_service::Service;

/// Serves HTTP/1.1 until the program ends, and returns the address.
pub async fn spawn<S, B>(address: SocketAddr, service: S) -> io::Result<SocketAddr>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, for example: a connection that closes may help.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let service = TowerToHyperService::new(service.clone());
            let mut server = http1::Builder::new();
            let server = server.timer(TokioTimer::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}
