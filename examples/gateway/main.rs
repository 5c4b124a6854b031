//! A reverse proxy that serves HTTP/1.1 and HTTP/2, with or without TLS, and balances the requests
//! over its backends: `cargo run --example gateway`, or with `-- --help`.
//!
//! Read `run` first: it puts the layers together. `options` reads the command line, `tls` reads
//! certificates, and `demo` is three backends to try it with.

mod demo;
pub(crate) mod options;
mod tls;

use std::{
    env, ffi::OsString, future::Future, io, net::SocketAddr, pin::pin, process::ExitCode,
    time::Duration,
};

use futures::StreamExt;
use http::uri::Scheme;
use http_body::Body;
use rustls::crypto::ring;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tower::{Layer, util::Either};
use tower_lb::{
    Balancer, BoxError,
    balance::{Builder, Status},
    discover::{self, DiscoverExt},
    health::{HealthCheck, HealthExt, HttpCheck, OutlierDetection},
    http::{
        Client, GatewayLayer, Origin, Pool, ProxyLayer, ResilienceLayer, Tunnels, UntilBodyEnd,
        sticky::{SessionKey, Sessions, Sticky, StickyBalancer},
    },
    listener::{HttpService, Listener, Socket},
    observe::{Dashboard, Registry},
    strategy::P2c,
    timeout::OverallTimeoutLayer,
};

use self::options::{Command, Options};

/// The time by which the listener's limit exceeds that of the response. Otherwise it would close
/// the connection before the client gets status 504.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    gateway(env::args_os().skip(1)).await.into()
}

/// Returns the exit code of the process.
pub(crate) async fn gateway(arguments: impl Iterator<Item = OsString>) -> u8 {
    let options = match options::parse(arguments) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return 0;
        }
        Err(error) => {
            eprintln!("gateway: {error}\ntry --help");
            return 2;
        }
    };
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("gateway: {error}");
            1
        }
    }
}

async fn run(mut options: Options) -> Result<(), BoxError> {
    let mut socket = Socket::tcp(options.listen);
    if let Some(files) = &options.tls {
        socket = socket.tls(tls::of_listener(files)?);
    }
    let listener = Listener::builder()
        .socket(socket)
        // The proxy has lower limits of heads, and says which one is exceeded.
        .max_head_bytes(96 * 1024)
        .handshake_timeout(Duration::from_secs(30))
        // A client that waits for a response sends nothing, and has nothing to read.
        .idle_timeout(options.timeout.saturating_add(IDLE_MARGIN))
        .bind()
        .map_err(|error| format!("--listen {}: {error}", options.listen))?;
    introduce(&mut options, &listener).await?;
    let registry = Registry::new();
    let operators = match options.metrics {
        Some(address) => Some(observe(address, &registry).await?),
        None => None,
    };

    // From the outside in: requests and responses get the form of the next connection, errors
    // become responses, a response has to begin in time, failed requests are repeated at another
    // backend if that is safe, and the balancer selects a backend for each attempt.
    let proxy = ProxyLayer::builder().upgrades(Tunnels::new()).build()?;
    let backends = if options.retries {
        let resilience = ResilienceLayer::builder().overall(options.timeout).build()?;
        registry.add(&resilience);
        let balancer = balancer(&options, &registry)?;
        let service = (proxy, GatewayLayer, resilience).layer(balancer.clone());
        serve(listener, service, options.drain).await?;
        status(&balancer)
    } else {
        let limit = OverallTimeoutLayer::new(options.timeout);
        let balancer = balancer(&options, &registry)?;
        let service = (proxy, GatewayLayer, limit).layer(balancer.clone());
        serve(listener, service, options.drain).await?;
        status(&balancer)
    };
    println!("{backends}");
    drop(operators);
    Ok(())
}

/// Serves the dashboard and the metrics until the result is dropped.
async fn observe(address: SocketAddr, registry: &Registry) -> Result<JoinSet<()>, BoxError> {
    let listener = Listener::builder()
        .socket(Socket::tcp(address))
        .bind()
        .map_err(|error| format!("--metrics {address}: {error}"))?;
    let address = &listener.local_addresses()[0];
    println!("dashboard on http://{address}/, metrics on http://{address}/metrics");
    let dashboard = Dashboard::new(registry);
    let mut task = JoinSet::new();
    task.spawn(async move {
        listener.serve(dashboard).await;
    });
    Ok(task)
}

/// A balancer over pooled clients, with or without sticky sessions.
type Backends<B> =
    Either<Balancer<Client<B>, P2c, UntilBodyEnd>, StickyBalancer<Client<B>, Sticky<P2c>>>;

/// The backends: their connections, their health, and the choice between them.
fn balancer<B>(options: &Options, registry: &Registry) -> Result<Backends<B>, BoxError>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Default + Send + Unpin + 'static,
{
    // Without a version, a backend with TLS would choose HTTP/2 by itself.
    let pool = if options.upstream_http2 { Pool::new().http2() } else { Pool::new().http1() };
    let encrypted = |origin: &Origin| origin.scheme() == &Scheme::HTTPS;
    let encrypted = options.upstreams.iter().any(encrypted);
    let pool = if encrypted { tls::to_backends(pool)? } else { pool };
    registry.add(&pool);
    let endpoints = discover::addresses(options.upstreams.clone()).connect(pool.connector::<B>());
    let endpoints = match &options.health_path {
        Some(path) => {
            let checked = endpoints.health_checked(HealthCheck::new(HttpCheck::get(path)?))?;
            registry.add(&checked.figures());
            checked.boxed()
        }
        None => endpoints.boxed(),
    };
    let endpoints = endpoints.outlier_detected(OutlierDetection::new())?;
    registry.add(&endpoints.figures());

    // If no backend is available, a client gets 503 after this time.
    let builder = Builder::http().name("backends").fail_fast(Duration::from_secs(5));
    let builder = builder.measure_durations(options.metrics.is_some());
    let Some(cookie) = &options.sticky else {
        let balancer = builder.spawn(P2c::default(), endpoints)?;
        registry.add(&balancer);
        return Ok(Either::Left(balancer));
    };
    // The key signs cookies. It is new with each start, and so are all sessions: gateways that
    // share sessions, or keep them when they restart, get it from a secret store.
    let mut key = [0; 32];
    ring::default_provider().secure_random.fill(&mut key).map_err(|_| "no random numbers")?;
    let sessions = Sessions::builder(SessionKey::new(key)?).cookie(cookie);
    // Browsers do not send a secure cookie over plain HTTP.
    let sessions = sessions.secure(options.tls.is_some()).build()?;
    let builder = builder.track(sessions.track(UntilBodyEnd::default()));
    let balancer = builder.spawn(sessions.stick(P2c::default()), endpoints)?;
    registry.add(&balancer);
    Ok(Either::Right(balancer))
}

fn status<B>(backends: &Backends<B>) -> Status {
    match backends {
        Either::Left(balancer) => balancer.status(),
        Either::Right(balancer) => balancer.status(),
    }
}

/// Serves until SIGTERM or SIGINT, and then lets requests and tunnels finish within `limit`, or
/// until the next signal.
async fn serve(
    listener: Listener,
    service: impl HttpService,
    limit: Duration,
) -> Result<(), BoxError> {
    let stop = stop_signal()?;
    let handle = listener.handle();
    let mut serve = pin!(listener.serve(service).drain_limit(limit));
    tokio::select! {
        _ = &mut serve => return Ok(()),
        () = stop => handle.shutdown(),
    }
    println!("draining for at most {limit:?}");
    let again = stop_signal()?;
    tokio::select! {
        drained = serve => match drained.cut_off {
            0 => println!("drained"),
            connections => println!("the time is over: {connections} connections were cut off"),
        },
        () = again => println!("another signal: closing what is left"),
    }
    Ok(())
}

fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says where the gateway listens. Without backends, starts three and says what to try.
async fn introduce(options: &mut Options, listener: &Listener) -> Result<(), BoxError> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addresses()[0]);
    println!("listening on {url}");
    if options.upstreams.is_empty() {
        options.upstreams = demo::start().await?;
        let curl = if options.tls.is_some() { "curl --insecure" } else { "curl" };
        println!(
            "
Three backends of its own show what they receive. To try:

  # the request as a backend gets it
  {curl} '{url}/hello?a=b'
  # HTTP/2 from here, HTTP/1.1 to the backends
  {curl} --http2-prior-knowledge {url}/
  # a field of this connection alone, which no backend gets
  {curl} --http1.1 -H 'Connection: X-Secret' -H 'X-Secret: 1' {url}/
  # finish what is in flight, and end
  kill -TERM {}

With backends of your own: --upstream http://HOST:PORT ..., see --help.
",
            std::process::id()
        );
    }
    Ok(())
}
