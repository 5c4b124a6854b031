//! What this program is when it is started as one of the processes of the benchmark.

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, MutexGuard},
};
use tower::ServiceBuilder;
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{ClientConnection, ForwardedFields, GatewayLayer, Origin, Pool, ProxyLayer, resilient},
    strategy::LeastLoaded,
};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Runs a role on one thread: `backend`, `tower-lb`, `tower-lb-retries`, `hyper` or `relay`, the
/// address to listen at, and the addresses of the backends.
pub fn serve(arguments: &[String]) -> Result {
    let [role, listen, backends @ ..] = arguments else {
        return Err("a role and an address".into());
    };
    let listen: SocketAddr = listen.parse()?;
    let backends = backends.iter().map(|text| Ok(text.parse()?)).collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        match role.as_str() {
            "backend" => backend(listener).await,
            "tower-lb" => tower_lb(listener, &backends, false).await,
            "tower-lb-retries" => tower_lb(listener, &backends, true).await,
            "hyper" => bare(listener, backends).await,
            "relay" => relay(listener, backends).await,
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
    let body = Bytes::from_static(&[b'x'; 128]);
    loop {
        let (socket, _) = accept(&listener).await?;
        let body = body.clone();
        let service = hyper::service::service_fn(move |_: Request<Incoming>| {
            let response = Response::new(Full::new(body.clone()));
            async { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

/// The stack of the gateway example: `X-Forwarded-For` as the others write it, no checks.
async fn tower_lb(listener: TcpListener, backends: &[SocketAddr], retries: bool) -> Result {
    let origins = backends.iter().map(|&address| Origin::from(address));
    let proxy = ProxyLayer::builder().via(None).forwarded_fields(ForwardedFields::Append);
    let edge = ServiceBuilder::new().layer(proxy.build()?).layer(GatewayLayer);
    if retries {
        let endpoints = discover::addresses(origins).connect(Pool::new().connector());
        let balancer = Builder::http().spawn(LeastLoaded::default(), endpoints)?;
        serve_http(listener, edge.service(resilient(balancer))).await
    } else {
        let endpoints = discover::addresses(origins).connect(Pool::new().connector());
        let balancer = Builder::http().spawn(LeastLoaded::default(), endpoints)?;
        serve_http(listener, edge.service(balancer)).await
    }
}

async fn serve_http<S, B>(listener: TcpListener, service: S) -> Result
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: hyper::body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let local = listener.local_addr()?;
    loop {
        let (socket, peer) = accept(&listener).await?;
        let connection = ClientConnection::new(peer, local);
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(connection.clone());
                request
            })
            .service(service.clone());
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        tokio::spawn(
            server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)),
        );
    }
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
