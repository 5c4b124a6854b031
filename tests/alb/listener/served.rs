//! A listener that serves a small site for the tests.

use std::{
    convert::Infallible,
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{task::JoinHandle, time::sleep};
use tower::service_fn;
use tower_lb::{
    http::ClientConnection,
    listener::{
        ConnectionInfo, Drained, HttpService, Listener, ListenerBuilder, ListenerHandle,
        ListenerStatus, Socket,
    },
};

/// More than the buffers of a socket have.
pub(crate) const LARGE: usize = 24 << 20;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A listener that serves as a task.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ListenerHandle,
    pub(crate) task: JoinHandle<Drained>,
}

/// Listens on a free port of loopback.
pub(crate) fn loopback() -> Socket {
    Socket::tcp("127.0.0.1:0".parse().unwrap())
}

pub(crate) fn default() -> ListenerBuilder {
    Listener::builder().socket(loopback())
}

pub(crate) fn serve(builder: ListenerBuilder) -> Served {
    serve_for(builder, Duration::from_secs(10))
}

/// Serves, and has `limit` for draining.
pub(crate) fn serve_for(builder: ListenerBuilder, limit: Duration) -> Served {
    let listener = builder.bind().unwrap();
    let address = listener.local_addresses()[0].tcp();
    let address = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
    let handle = listener.handle();
    let task = tokio::spawn(listener.serve(site()).drain_limit(limit));
    Served { address, handle, task }
}

impl Served {
    pub(crate) fn status(&self) -> ListenerStatus {
        self.handle.status()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn stop(self) -> Drained {
        self.handle.shutdown();
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap()
    }

    /// Waits until the status is as expected.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&ListenerStatus) -> bool) {
        let start = Instant::now();
        while !is(&self.status()) {
            let status = self.status();
            assert!(start.elapsed() < Duration::from_secs(20), "{what}: {status:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn site() -> impl HttpService {
    service_fn(
        |request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(request).await) },
    )
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed())
}

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/hang" => std::future::pending().await,
        "/panic" => panic!("as the test asked"),
        "/length" => match request.into_body().collect().await {
            Ok(body) => text(body.to_bytes().len().to_string()),
            Err(_) => text("failed"),
        },
        // Without an end, in pieces of 64 KiB.
        "/endless" => {
            let frame = || Frame::data(Bytes::from_static(&[b'x'; 65536]));
            let body = stream::repeat_with(move || Ok(frame()));
            Response::new(BodyExt::boxed(StreamBody::new(body)))
        }
        // In one piece.
        "/large" => text(vec![b'x'; LARGE]),
        "/echo" => upgrade(request),
        path => {
            if let Some(time) = path.strip_prefix("/slow/") {
                sleep(Duration::from_millis(time.parse().unwrap())).await;
            }
            text(describe(&request))
        }
    }
}

/// What the request's extensions say.
fn describe<B>(request: &Request<B>) -> String {
    let mut told = format!("{:?}\n", request.version());
    match request.extensions().get::<ClientConnection>() {
        Some(client) => {
            let (peer, local, tls) = (client.peer(), client.local(), client.is_tls());
            writeln!(told, "client {peer} to {local} tls {tls}").unwrap();
        }
        None => told.push_str("no client\n"),
    }
    let info = request.extensions().get::<ConnectionInfo>().unwrap();
    writeln!(told, "socket {:?} at {}", info.peer(), info.local()).unwrap();
    if let Some(header) = info.proxy_header() {
        let (version, source, alpn) = (header.version(), header.source(), header.alpn());
        writeln!(told, "proxy {version} {source:?} alpn {alpn:?}").unwrap();
        writeln!(told, "authority {:?} ssl {:?}", header.authority(), header.ssl()).unwrap();
    }
    told
}

/// Switches to a protocol that echoes bytes.
fn upgrade(mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
    let mut response = text("");
    if request.method() != http::Method::CONNECT {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
        response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
    }
    response
}
