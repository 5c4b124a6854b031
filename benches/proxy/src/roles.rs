//! What this program is when it is started as one of the processes of the benchmark.

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard},
};
use tower::ServiceBuilder;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{ForwardedFields, GatewayLayer, Origin, Pool, ProxyLayer, resilient},
    listener::{
        Listener, Socket,
        tls::{Certificate, Certificates, Resumption, ServerTls},
    },
    strategy::LeastLoaded,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The path of a response of [`LARGE`] bytes.
pub const LARGE_PATH: &str = "/large";
pub const LARGE: usize = 1 << 20;

/// Runs a role on one thread: `backend`, `tower-lb`, `tower-lb-retries`, `hyper` or `relay`, the
/// address to listen at, and the addresses of the backends.
pub fn serve(arguments: &[String]) -> Result {
    let [role, listen, backends @ ..] = arguments else {
        return Err("a role and an address".into());
    };
    let address: SocketAddr = listen.parse()?;
    let backends = backends.iter().map(|text| Ok(text.parse()?)).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match role.as_str() {
            "backend" => backend(TcpListener::bind(address).await?).await,
            "tower-lb" => tower_lb(address, &backends, false).await,
            "tower-lb-retries" => tower_lb(address, &backends, true).await,
            "hyper" => bare(TcpListener::bind(address).await?, backends).await,
            "relay" => relay(TcpListener::bind(address).await?, backends).await,
            other => Err(format!("no role {other}").into()),
        }
    })
}

async fn accept(listener: &TcpListener) -> Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, peer))
}

async fn backend(listener: TcpListener) -> Result {
    let (small, large) = (Bytes::from_static(&[b'x'; 128]), Bytes::from(vec![b'x'; LARGE]));
    loop {
        let (socket, _) = accept(&listener).await?;
        let (small, large) = (small.clone(), large.clone());
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let body = if request.uri().path() == LARGE_PATH { &large } else { &small };
            let response = Response::new(Full::new(body.clone()));
            async { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

/// The stack of the gateway example: `X-Forwarded-For` as the others write it, no checks.
async fn tower_lb(address: SocketAddr, backends: &[SocketAddr], retries: bool) -> Result {
    let origins = backends.iter().map(|&address| Origin::from(address));
    let proxy = ProxyLayer::builder().via(None).forwarded_fields(ForwardedFields::Append);
    let edge = ServiceBuilder::new().layer(proxy.build()?).layer(GatewayLayer);
    let listener =
        Listener::builder().socket(socket(address)?).keep_alive(Duration::from_secs(300)).bind()?;
    if retries {
        let endpoints = discover::addresses(origins).connect(Pool::new().connector());
        let balancer = Builder::http().spawn(LeastLoaded::default(), endpoints)?;
        listener.serve(edge.service(resilient(balancer))).await;
    } else {
        let endpoints = discover::addresses(origins).connect(Pool::new().connector());
        let balancer = Builder::http().spawn(LeastLoaded::default(), endpoints)?;
        listener.serve(edge.service(balancer)).await;
    }
    Ok(())
}

/// Terminates TLS if the environment names a file with a certificate and its key.
fn socket(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::tcp(address);
    let Some(file) = std::env::var_os("BENCH_TLS_KEY") else { return Ok(socket) };
    let certificates = Certificates::builder()
        .crypto_provider(Arc::new(ring::default_provider()))
        .default_certificate(Certificate::files(&file, &file))
        .build()?;
    let tls = ServerTls::builder(certificates)
        .alpn(["http/1.1"])
        .resumption(Resumption::tickets(ring::Ticketer::new))
        .build()?;
    Ok(socket.tls(tls))
}

/// The least that a proxy on hyper can do: one connection to a backend for each one of a client.
async fn bare(listener: TcpListener, backends: Vec<SocketAddr>) -> Result {
    let mut backends = backends.into_iter().cycle();
    loop {
        let (socket, _) = accept(&listener).await?;
        let backend = backends.next().ok_or("a backend")?;
        tokio::spawn(async move {
            let Ok(upstream) = TcpStream::connect(backend).await else { return };
            let _ = upstream.set_nodelay(true);
            let Ok((sender, connection)) = handshake(TokioIo::new(upstream)).await else { return };
            tokio::spawn(connection);
            let sender = Arc::new(Mutex::new(sender));
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let sender = Arc::clone(&sender);
                async move {
                    let mut sender: MutexGuard<'_, SendRequest<Incoming>> = sender.lock().await;
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn relay(listener: TcpListener, backends: Vec<SocketAddr>) -> Result {
    let mut backends = backends.iter().cycle();
    loop {
        let (mut socket, _) = accept(&listener).await?;
        let backend = *backends.next().ok_or("a backend")?;
        tokio::spawn(async move {
            let Ok(mut upstream) = TcpStream::connect(backend).await else { return };
            let _ = upstream.set_nodelay(true);
            let _ = tokio::io::copy_bidirectional(&mut socket, &mut upstream).await;
        });
    }
}
