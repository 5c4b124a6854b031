//! Connections of TCP and TLS.

use std::{sync::Arc, time::Duration};

use rustls::crypto::ring;
use tower::Layer;
use tower_lb::{
    BoxError,
    balance::Builder,
    discover::{self, DiscoverExt},
    health::{Draining, HealthExt, OutlierDetection},
    listener::{
        Listener, ProxyProtocol, Socket,
        tls::{Certificate, Certificates, ServerTls},
    },
    retry::{RetryFailures, RetryLayer},
    strategy::Maglev,
    tcp::{Connection, RelayCheck, Relays, TcpBalancer, Termination, TerminationExt},
};

use super::{
    health,
    options::{Options, TcpOptions, TlsFiles},
    stop,
};

pub(crate) async fn run(options: &Options, of_tcp: &TcpOptions) -> Result<(), BoxError> {
    let listener = Listener::builder()
        .socket(socket(options, of_tcp)?)
        .bind()
        .map_err(|error| format!("--listen {}: {error}", options.listen))?;
    println!("listening on {}", listener.local_addresses()[0]);

    let mut relays = Relays::builder().idle_timeout(options.idle_timeout);
    if let Some(header) = of_tcp.proxy_protocol {
        relays = relays.proxy_protocol(header);
    }
    let relays = relays.build()?;
    let balancer = balancer(options, &relays)?;
    // A target that cannot be connected is followed by another: the client has sent nothing yet.
    let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build()?;
    let service = retry.layer(balancer.clone());

    let handle = listener.handle();
    let serve = listener.serve_connections(service).drain_limit(options.drain);
    let drained = stop::drain(serve, || handle.shutdown(), options.drain).await?;
    if let Some(drained) = drained {
        stop::print_end(drained.cut_off, "connections");
    }
    println!("{}\n{}", relays.status(), balancer.status());
    Ok(())
}

fn socket(options: &Options, of_tcp: &TcpOptions) -> Result<Socket, BoxError> {
    let mut socket = Socket::tcp(options.listen);
    if !of_tcp.accept_proxy.is_empty() {
        let trusted = of_tcp.accept_proxy.iter().copied();
        socket = socket.proxy_protocol(ProxyProtocol::trusting(trusted)?);
    }
    if let Some(files) = &of_tcp.tls {
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
    let targets = discover::addresses(options.targets.clone())
        .connect(relays.connector())
        .health_checked(health::every(options.health_interval, RelayCheck))?
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
