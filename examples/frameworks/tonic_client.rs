//! gRPC over several HTTP/2 connections, balanced by request. A single channel sends all its
//! requests to one server. `cargo run -p tower-lb-framework-examples --example tonic_client`
//!
//! A client that tonic generates accepts the balancer instead of a channel:
//! `GreeterClient::new(balancer)`. This example needs no protoc: it contains the generated code,
//! and messages are plain text.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error as StdError,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BufMut};
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tonic::{
    Request, Response, Status,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::NamedService,
    transport::{self, Server, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{GrpcCheck, HealthCheck, HealthExt},
    http::{GrpcStatus, ReplayBody, ResilienceLayer, RetryOn, UntilBodyEnd},
    strategy::P2c,
};

type BoxError = Box<dyn StdError + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let greeters =
        [("one", 2), ("two", 2), ("slow", 20)].map(|(name, millis)| Greeter::new(name, millis));
    let mut servers = Vec::new();
    for greeter in &greeters {
        servers.push((greeter.name, greeter.clone().serve().await?));
    }

    let connect = |address: &SocketAddr| {
        let endpoint = transport::Endpoint::from_shared(format!("http://{address}"));
        // A URI with a socket address is always valid.
        let channel = endpoint.unwrap().connect_timeout(Duration::from_secs(1)).connect_lazy();
        // Retries send `ReplayBody`s, and a channel takes tonic's own body.
        channel.map_request(|request: http::Request<ReplayBody<Body>>| request.map(Body::new))
    };

    let (_, first) = servers[0];
    let one = transport::Endpoint::from_shared(format!("http://{first}"))?.connect_lazy();
    print("one channel", greet(one, 300).await);

    // One HTTP/2 connection per server; the grpc-status decides whether a request failed. The
    // health checks use the same channels.
    let endpoints = servers.iter().map(|&(name, address)| (name, address.into()));
    let endpoints = discover::list(endpoints.collect::<Vec<_>>())
        .connect(connect)
        .health_checked(HealthCheck::new(GrpcCheck::server()))?;
    let balancer =
        Builder::http().track(UntilBodyEnd::new(GrpcStatus)).spawn(P2c::peak_ewma(), endpoints)?;
    let resilience = ResilienceLayer::builder().retry_on(RetryOn::grpc()).build()?;
    let client = resilience.layer(balancer.clone());
    print("balanced", greet(client.clone(), 300).await);

    greeters[0].unavailable.store(true, Ordering::Relaxed);
    print("balanced, one is unavailable", greet(client, 300).await);
    println!("\n{}", balancer.status());
    Ok(())
}

fn print(title: &str, responses: BTreeMap<String, u32>) {
    println!("300 calls, {title:28} {responses:?}");
}

/// Sends `requests` requests, one every half a millisecond, and counts the responses.
async fn greet<T>(transport: T, requests: u32) -> BTreeMap<String, u32>
where
    T: GrpcService<Body, ResponseBody: Send, Future: Send> + Clone + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
    <T::ResponseBody as http_body::Body>::Data: Send,
{
    let mut calls = JoinSet::new();
    for n in 0..requests {
        let transport = transport.clone();
        calls.spawn(async move {
            sleep(Duration::from_micros(u64::from(n) * 500)).await;
            match GreeterClient(Grpc::new(transport)).greet("world").await {
                Ok(response) => response.into_inner(),
                Err(status) => format!("{:?}", status.code()),
            }
        });
    }
    let mut responses = BTreeMap::new();
    for response in calls.join_all().await {
        *responses.entry(response).or_default() += 1;
    }
    responses
}

/// The client that tonic would generate.
struct GreeterClient<T>(Grpc<T>);

impl<T> GreeterClient<T>
where
    T: GrpcService<Body, ResponseBody: Send + 'static>,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    async fn greet(&mut self, name: &str) -> Result<Response<String>, Status> {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(error.into().to_string()))?;
        let path = PathAndQuery::from_static("/demo.Greeter/Greet");
        self.0.unary(Request::new(name.to_owned()), path, Text).await
    }
}

/// A server that responds with its name after `latency`.
#[derive(Clone)]
struct Greeter {
    name: &'static str,
    latency: Duration,
    unavailable: Arc<AtomicBool>,
}

impl Greeter {
    fn new(name: &'static str, millis: u64) -> Self {
        Self { name, latency: Duration::from_millis(millis), unavailable: Arc::default() }
    }

    async fn serve(self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let (_, health) = tonic_health::server::health_reporter();
        let server = Server::builder().add_service(health).add_service(self);
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(address)
    }

    async fn greet(self, request: Request<String>) -> Result<Response<String>, Status> {
        if self.unavailable.load(Ordering::Relaxed) {
            return Err(Status::unavailable("too busy"));
        }
        sleep(self.latency).await;
        assert_eq!(request.into_inner(), "world");
        Ok(Response::new(self.name.to_owned()))
    }
}

/// The server code that tonic would generate.
impl NamedService for Greeter {
    const NAME: &'static str = "demo.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move {
            let method = service_fn(move |request| greeter.clone().greet(request));
            Ok(tonic::server::Grpc::new(Text).unary(method, request).await)
        })
    }
}

/// A codec for plain text messages.
#[derive(Clone, Copy)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let text = String::from_utf8(bytes.into());
        text.map(Some).map_err(|_| Status::internal("not UTF-8"))
    }
}
