//! Servers on loopback, and the client that reaches a provider.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_lb::{
    auth::{HttpClient, jwt::VerifiedClaims, oidc::Identity},
    http::{ClientConnection, Proxy, ProxyLayer, RequestBody},
};

/// The most that a step of a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The service behind the edge: it answers with the path and the fields that it has got.
pub(crate) async fn echo<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {value}\n"));
    }
    if let Some(identity) = request.extensions().get::<Identity>() {
        text.push_str(&format!("identity {} {}\n", identity.subject(), identity.claims().len()));
    }
    if let Some(claims) = request.extensions().get::<VerifiedClaims>() {
        text.push_str(&format!("claims {}\n", claims.subject().unwrap_or_default()));
    }
    Ok(Response::new(Full::new(text.into())))
}

/// Serves `layer` around [`echo`] on a free port, behind a proxy as in production.
pub(crate) async fn serve<L, S>(layer: L) -> SocketAddr
where
    L: Layer<
            tower::util::BoxCloneSyncService<
                Request<RequestBody<Incoming>>,
                Response<Full<Bytes>>,
                Infallible,
            >,
            Service = S,
        >,
    S: Service<
            Request<RequestBody<Incoming>>,
            Response = Response<tower_lb::http::GatewayBody<Full<Bytes>>>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let echo = tower::service_fn(echo::<RequestBody<Incoming>>);
    let service = layer.layer(tower::util::BoxCloneSyncService::new(echo));
    let service: Proxy<S> = ProxyLayer::default().layer(service);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone();
            let connection = ClientConnection::new(peer, address);
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                service.clone().oneshot(request)
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A client that connects to whichever host a URL names.
pub(crate) fn client() -> HttpClient {
    HttpClient::new(Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>())
}

/// A response that was read to its end.
pub(crate) type Answer = Response<String>;

/// Sends a request to `address` and reads the response.
pub(crate) async fn send(address: SocketAddr, request: http::request::Builder) -> Answer {
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let mut request = request.body(Full::<Bytes>::default()).unwrap();
        let host = address.to_string().try_into().unwrap();
        request.headers_mut().entry(header::HOST).or_insert(host);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        Response::from_parts(head, String::from_utf8_lossy(&text).into_owned())
    };
    tokio::time::timeout(LIMIT, exchange).await.unwrap()
}

/// Returns the value of a field that the service behind the edge has got.
pub(crate) fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.body().lines();
    lines.filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, v)| v)
}
