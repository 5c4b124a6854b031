//! A server that accepts connections by hand and tells what it has got.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tower::{Layer, service_fn};
use tower_lb::listener::tls::{ServerTls, TlsDetails, TlsFieldsLayer};

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// What each handshake has come to.
    pub(crate) handshakes: mpsc::UnboundedReceiver<Result<TlsDetails, String>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves with the default fields.
    pub(crate) async fn start(tls: &ServerTls) -> Self {
        let fields = TlsFieldsLayer::builder().version_and_cipher_suite(true).build().unwrap();
        Self::with_fields(tls, fields).await
    }

    /// Answers each request with its method, path and fields, a line each.
    pub(crate) async fn with_fields(tls: &ServerTls, fields: TlsFieldsLayer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, handshakes) = mpsc::unbounded_channel();
        let tls = tls.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let (tls, fields, report) = (tls.clone(), fields.clone(), report.clone());
                tokio::spawn(async move {
                    let (stream, details) = match tls.accept(socket).await {
                        Ok(accepted) => accepted,
                        Err(error) => return drop(report.send(Err(error.to_string()))),
                    };
                    let _ = report.send(Ok(details.clone()));
                    let echo = fields.layer(service_fn(echo));
                    let service = service_fn(move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(details.clone());
                        let mut echo = echo.clone();
                        async move { tower::Service::call(&mut echo, request).await }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    let service = TowerToHyperService::new(service);
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, handshakes, task }
    }

    /// Returns what the next handshake has come to.
    pub(crate) async fn handshake(&mut self) -> Result<TlsDetails, String> {
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, self.handshakes.recv()).await.expect("a handshake").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body =
        format!("{} {} {:?}\n", request.method(), request.uri().path(), request.version());
    for (name, value) in request.headers() {
        body += &format!("{name}: {}\n", value.to_str().unwrap_or("?"));
    }
    let response = Response::builder().header("content-type", "text/plain");
    Ok(response.body(Full::from(body)).unwrap())
}
