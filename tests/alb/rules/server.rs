//! Serves rules on a socket, as a listener does.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{Service, ServiceExt, service_fn};
use tower_lb::{
    http::{ClientConnection, Gateway, GatewayBody},
    rules::{Action, MatchedRule, Rules},
};

pub(crate) type Body = GatewayBody<GatewayBody<Full<Bytes>>>;

/// A group of endpoints whose only endpoint answers with its name, the rule, and the request's host
/// and target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo(pub(crate) &'static str);

impl Service<Request<Incoming>> for Echo {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let rule = request.extensions().get().map_or("", MatchedRule::name).to_owned();
        let host = request.headers().get("host").map_or("", |host| host.to_str().unwrap());
        let text = format!("{} {rule} {host} {}", self.0, request.uri());
        let mut response = Response::new(Full::from(text));
        response.headers_mut().insert("x-rule", rule.parse().unwrap());
        std::future::ready(Ok(response))
    }
}

/// Serves until the runtime ends.
pub(crate) async fn serve(rules: Rules<Action<Echo>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let rules = rules.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ClientConnection::new(peer, local));
                let gateway = Gateway::new(rules.clone());
                async move { gateway.oneshot(request).await as Result<Response<Body>, _> }
            });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(service);
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    local
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a field, if there is one.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// Sends the lines of a request head and reads all that comes back.
pub(crate) async fn ask(address: SocketAddr, lines: &str) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{lines}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = timeout(Duration::from_secs(20), exchange).await.expect("an answer in time");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
