//! A network load balancer for TCP and TLS: `cargo run --example nlb -- --target 127.0.0.1:9001`,
//! or with `-- --help`.
//!
//! Read `run` first: it puts the parts together. `options` reads the command line.

pub(crate) mod options;

use std::{
    env, ffi::OsString, future::Future, io, pin::pin, process::ExitCode, sync::Arc, time::Duration,
};

use rustls::crypto::ring;
use tokio::signal::unix::{SignalKind, signal};
use tower::Layer;
use tower_lb::{
    BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{Draining, HealthCheck, HealthExt, OutlierDetection},
    listener::{
        ConnectionService, Listener, ProxyProtocol, Socket,
        tls::{Certificate, Certificates, ServerTls},
    },
    retry::{RetryFailures, RetryLayer},
    strategy::Maglev,
    tcp::{Connection, RelayCheck, Relays, TcpBalancer, Termination, TerminationExt},
};

use self::options::{Command, Options, TlsFiles};

#[tokio::main]
async fn main() -> ExitCode {
    nlb(env::args_os().skip(1)).await.into()
}

/// Returns the exit code of the process.
pub(crate) async fn nlb(arguments: impl Iterator<Item = OsString>) -> u8 {
    let options = match options::parse(arguments) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return 0;
        }
        Err(error) => {
            eprintln!("nlb: {error}\ntry --help");
            return 2;
        }
    };
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("nlb: {error}");
            1
        }
    }
}

async fn run(options: Options) -> Result<(), BoxError> {
    let listener = Listener::builder()
        .socket(socket(&options)?)
        .bind()
        .map_err(|error| format!("--listen {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addresses()[0]);

    let mut relays = Relays::builder().idle_timeout(options.idle_timeout);
    if let Some(header) = options.proxy_protocol {
        relays = relays.proxy_protocol(header);
    }
    let relays = relays.build()?;
    let balancer = balancer(&options, &relays)?;
    // A target that cannot be connected is followed by another: the client has sent nothing yet.
    let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build()?;
    serve(listener, retry.layer(balancer.clone()), options.drain).await?;
    println!("{}\n{}", relays.status(), balancer.status());
    Ok(())
}

fn socket(options: &Options) -> Result<Socket, BoxError> {
    let mut socket = Socket::tcp(options.listen);
    if !options.accept_proxy.is_empty() {
        let trusted = options.accept_proxy.iter().copied();
        socket = socket.proxy_protocol(ProxyProtocol::trusting(trusted)?);
    }
    if let Some(files) = &options.tls {
        socket = socket.tls(server_tls(files)?);
    }
    Ok(socket)
}

/// Reads the certificate chain and its key. No protocol is agreed on (ALPN), because the targets'
/// is not known.
fn server_tls(files: &TlsFiles) -> Result<ServerTls, BoxError> {
    let certificates = Certificates::builder()
        .default_certificate(Certificate::files(&files.cert, &files.key))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| format!("--tls-cert and --tls-key: {error}"))?;
    Ok(ServerTls::builder(certificates).alpn([""; 0]).build()?)
}

/// The key of a connection, which decides its target.
type Key = fn(&Connection) -> Option<u64>;

/// The targets: how they are reached, their health, and the choice between them.
fn balancer(options: &Options, relays: &Relays) -> Result<TcpBalancer<Maglev<Key>>, BoxError> {
    let check = HealthCheck::new(RelayCheck)
        .interval(options.health_interval)
        .timeout(options.health_interval.min(Duration::from_secs(10)));
    let targets = discover::addresses(options.targets.clone())
        .connect(relays.connector())
        .health_checked(check)?
        .drained(Draining::within(Duration::from_secs(300)))?
        .terminating(Termination::new())
        .outlier_detected(OutlierDetection::new())?;
    let key: Key = match options.sticky_source {
        true => Connection::source_key,
        false => Connection::flow_key,
    };
    // If no target is available, a client is reset after this time.
    let builder = Builder::tcp().name("targets").fail_fast(Duration::from_secs(5));
    Ok(builder.spawn(Maglev::new(key), targets)?)
}

/// Serves until SIGTERM or SIGINT, and then lets connections finish within `limit`, or until the
/// next signal.
async fn serve(
    listener: Listener,
    service: impl ConnectionService,
    limit: Duration,
) -> Result<(), BoxError> {
    let stop = stop_signal()?;
    let handle = listener.handle();
    let mut serve = pin!(listener.serve_connections(service).drain_limit(limit));
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
