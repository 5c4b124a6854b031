//! Three backends on loopback that show the request that they have received.

use std::{convert::Infallible, fmt::Write, io};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower_lb::http::Origin;

/// Starts the backends on free ports.
pub(crate) async fn start() -> io::Result<Vec<Origin>> {
    let mut origins = Vec::new();
    for name in ["red", "green", "blue"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        origins.push(Origin::from(listener.local_addr()?));
        tokio::spawn(serve(listener, name));
    }
    Ok(origins)
}

async fn serve(listener: TcpListener, name: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        let respond = service_fn(move |request| async move {
            Ok::<_, Infallible>(Response::new(describe(name, &request)))
        });
        let mut server = http1::Builder::new();
        let server =
            server.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), respond);
        tokio::spawn(server);
    }
}

fn describe(name: &str, request: &Request<Incoming>) -> String {
    let mut text = format!("backend {name} received:\n\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "{} {} {:?}", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}
