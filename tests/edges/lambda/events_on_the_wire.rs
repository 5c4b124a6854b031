//! Events of requests that arrive over real connections: HTTP/1.0, HTTP/1.1 and HTTP/2, written
//! byte by byte or frame by frame.
use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_lb::lambda::{AlbEvent, EventFormat, HttpFunction, Invocation, Invoked, UrlEvent};

const HOP_BY_HOP: &str = "Connection: close, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\n";

/// Serves a function that responds with the event it gets.
async fn serve(format: impl EventFormat + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let format = Arc::new(format);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let echo = tower::service_fn(|invocation: Invocation| {
                let event = String::from_utf8(invocation.into_payload().to_vec()).unwrap();
                let answer = json!({ "statusCode": 200, "body": event }).to_string();
                std::future::ready(Ok::<_, Infallible>(Invoked::new(200, answer)))
            });
            let site = HttpFunction::new(echo, Shared(Arc::clone(&format)));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(site);
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

struct Shared<F>(Arc<F>);

impl<F: EventFormat> EventFormat for Shared<F> {
    fn encode(
        &self,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Result<Bytes, tower_lb::lambda::UnsupportedRequest> {
        self.0.encode(head, body)
    }

    fn decode(
        &self,
        response: Bytes,
    ) -> Result<http::Response<Bytes>, tower_lb::lambda::InvalidResponse> {
        self.0.decode(response)
    }

    fn max_body(&self) -> usize {
        self.0.max_body()
    }
}

fn url() -> UrlEvent {
    UrlEvent::new("abc.lambda-url.eu-west-1.on.aws")
}

/// Sends the bytes of a request that ends the connection, and returns status line and event.
async fn raw(address: SocketAddr, request: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    // An interim response to `Expect` may come first.
    let response = response.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&response);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split_once("\r\n").unwrap().0;
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// Sends a request by HTTP/2 and returns status and event.
async fn h2(address: SocketAddr, request: Request<()>, body: &'static str) -> (u16, Value) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let (response, mut send) = client.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        send.send_data(body.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        send.send_trailers(trailers).unwrap();
    }
    let (head, mut receive) = response.await.unwrap().into_parts();
    let mut read = Vec::new();
    while let Some(data) = receive.data().await {
        read.extend_from_slice(&data.unwrap());
    }
    (head.status.as_u16(), serde_json::from_slice(&read).unwrap_or_default())
}

#[tokio::test]
async fn one_host_is_in_the_event_whatever_form_the_request_has() {
    let address = serve(url()).await;
    for (line, host, path, protocol, expected) in [
        ("GET / HTTP/1.1", "shop.example", "/", "HTTP/1.1", json!("shop.example")),
        ("GET / HTTP/1.1", "shop.example:8080", "/", "HTTP/1.1", json!("shop.example:8080")),
        ("GET / HTTP/1.1", "[2001:db8::1]:80", "/", "HTTP/1.1", json!("[2001:db8::1]:80")),
        ("GET / HTTP/1.0", "shop.example", "/", "HTTP/1.0", json!("shop.example")),
        (
            "GET http://real.example/a HTTP/1.1",
            "x.example",
            "/a",
            "HTTP/1.1",
            json!("real.example"),
        ),
        ("GET http://real.example:81?q HTTP/1.1", "x", "/", "HTTP/1.1", json!("real.example:81")),
        ("OPTIONS * HTTP/1.1", "shop.example", "*", "HTTP/1.1", json!("shop.example")),
    ] {
        let request = format!("{line}\r\nHost: {host}\r\n{HOP_BY_HOP}\r\n");
        let (status, event) = raw(address, &request).await;
        assert!(status.ends_with("200 OK"), "{line}: {status}");
        assert_eq!(event["headers"], json!({ "host": expected }), "{line}");
        assert_eq!(event["rawPath"], path, "{line}");
        assert_eq!(event["requestContext"]["http"]["protocol"], protocol, "{line}");
    }
    // HTTP/1.0 needs no host.
    let (_, event) = raw(address, "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(event["headers"], json!({}));
}

#[tokio::test]
async fn the_authority_of_http2_is_the_host_and_cookies_are_one_again() {
    for (format, cookie) in [
        (serve(url()).await, "/headers/cookie"),
        (serve(AlbEvent::new("")).await, "/headers/cookie"),
        (serve(AlbEvent::new("").multi_value()).await, "/multiValueHeaders/cookie/0"),
    ] {
        let request = Request::post("http://shop.example:8443/a?b=c").version(Version::HTTP_2);
        let request = request
            .header("cookie", "a=1")
            .header("cookie", "b=2; c=3")
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .header("content-type", "text/plain");
        let (status, event) = h2(format, request.body(()).unwrap(), "hello").await;
        assert_eq!(status, 200);
        assert_eq!(event["body"], "hello");
        assert_eq!(event.pointer(cookie).unwrap(), "a=1; b=2; c=3");
        let text = event.to_string();
        assert!(text.contains("\"shop.example:8443\""), "{text}");
        assert!(!text.contains("x-sum") && !text.contains("\"te\""), "{text}");
        if let Some(cookies) = event.get("cookies") {
            assert_eq!(cookies, &json!(["a=1", "b=2", "c=3"]));
            assert_eq!(event["requestContext"]["http"]["protocol"], "HTTP/2.0");
        }
    }
    // An authority takes precedence over a `Host` that differs.
    let request = Request::get("http://shop.example/").version(Version::HTTP_2);
    let request = request.header("host", "x.example").body(()).unwrap();
    let (_, event) = h2(serve(url()).await, request, "").await;
    assert_eq!(event["headers"], json!({ "host": "shop.example" }));
}

#[tokio::test]
async fn framing_expectations_and_trailers_end_at_the_server() {
    let address = serve(url()).await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: text/plain\r\n\
        Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nExpect: 100-continue\r\n\r\n\
        5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let (status, event) = raw(address, request).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert_eq!(event["headers"], json!({ "host": "a", "content-type": "text/plain" }));
    assert_eq!(event["body"], "hello");
}

#[tokio::test]
async fn ambiguous_hosts_and_tunnels_are_bad_requests() {
    let address = serve(url()).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n",
    ] {
        let (status, event) = raw(address, &format!("{request}Connection: close\r\n\r\n")).await;
        assert_eq!((&*status, event), ("HTTP/1.1 400 Bad Request", Value::Null), "{request}");
    }
}
