//! A Classic Load Balancer: `cargo run --example clb -- --listen http:127.0.0.1:8080
//! --instance-port 9001 --instance 127.0.0.1 --instance 127.0.0.2`, or with `-- --help`.
//!
//! Read `run` first: it puts the load balancer together. `options` reads the command line.

pub(crate) mod options;

use std::{
    env, ffi::OsString, future::Future, io, pin::pin, process::ExitCode, sync::Arc, time::Duration,
};

use rustls::crypto::ring;
use tokio::signal::unix::{SignalKind, signal};
use tower_lb::{
    BoxError,
    clb::{
        ClassicHealthCheck, ClassicListener, ClassicLoadBalancer, ClassicLoadBalancerBuilder,
        CookiePolicy,
    },
    discover,
    http::{Tls, sticky::SessionKey},
    listener::tls::{Certificate, Certificates, ServerTls},
};

use self::options::{Command, Cookies, HealthOptions, Listen, Options, TlsFiles};

#[tokio::main]
async fn main() -> ExitCode {
    clb(env::args_os().skip(1)).await.into()
}

/// Returns the exit code of the process.
pub(crate) async fn clb(arguments: impl Iterator<Item = OsString>) -> u8 {
    let options = match options::parse(arguments) {
        Ok(Command::Serve(options)) => *options,
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            return 0;
        }
        Err(error) => {
            eprintln!("clb: {error}\ntry --help");
            return 2;
        }
    };
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    match run(options).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("clb: {error}");
            1
        }
    }
}

async fn run(options: Options) -> Result<(), BoxError> {
    let drain = options.drain;
    let balancer = configure(options)?.bind()?;
    for address in balancer.local_addresses() {
        println!("listening on {address}");
    }
    let handle = balancer.handle();
    serve(balancer, drain).await?;
    print!("{}", handle.status());
    Ok(())
}

fn configure(options: Options) -> Result<ClassicLoadBalancerBuilder, BoxError> {
    let first_port = options.listeners.first().map_or(0, |first| first.instance_port);
    let tls = options.tls.as_ref().map(server_tls).transpose()?;
    let cookies = options.cookies.as_ref().map(cookie_policy).transpose()?;
    // Instances have certificates of their own, which are not verified, as at AWS.
    let instance_tls = Tls::builder()
        .without_verification()
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()?;
    let mut builder = ClassicLoadBalancer::builder("clb")
        .instances(discover::addresses(options.instances))
        .instance_tls(instance_tls)
        .idle_timeout(options.idle_timeout)
        .max_requests_per_instance(options.max_requests)
        .surge_queue(options.surge_queue)
        // The flags also accept what AWS does not, such as a check each second.
        .unrestricted();
    for listen in options.listeners {
        builder = builder.listener(listener(listen, tls.as_ref(), cookies.as_ref(), options.proxy));
    }
    let HealthOptions { target, interval, timeout, healthy_threshold, unhealthy_threshold } =
        options.health;
    let target = match target {
        Some(target) => target,
        None => format!("TCP:{first_port}").parse()?,
    };
    builder = builder.health_check(
        ClassicHealthCheck::new(target)
            .interval(interval)
            .timeout(timeout)
            .healthy_threshold(healthy_threshold)
            .unhealthy_threshold(unhealthy_threshold),
    );
    if let Some(limit) = options.draining {
        builder = builder.connection_draining(limit);
    }
    Ok(builder)
}

fn listener(
    listen: Listen,
    tls: Option<&ServerTls>,
    cookies: Option<&CookiePolicy>,
    proxy: bool,
) -> ClassicListener {
    let Listen { protocol, address, instance_protocol, instance_port } = listen;
    let mut listener =
        ClassicListener::new(protocol, address, instance_port).instance_protocol(instance_protocol);
    if let Some(tls) = tls.filter(|_| protocol.is_encrypted()) {
        listener = listener.tls(tls.clone());
    }
    if let Some(cookies) = cookies.filter(|_| protocol.is_http()) {
        listener = listener.cookies(cookies.clone());
    }
    listener.proxy_protocol(proxy && !protocol.is_http())
}

/// Sessions end with the process, because their key is random.
fn cookie_policy(cookies: &Cookies) -> Result<CookiePolicy, BoxError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let key = SessionKey::new(secret)?;
    Ok(match cookies {
        Cookies::Duration(duration) => CookiePolicy::duration(key, *duration),
        Cookies::Browser => CookiePolicy::browser_session(key),
        Cookies::Application(name) => CookiePolicy::application(key, name),
    })
}

/// Reads the certificate chain and its key. No protocol is agreed on (ALPN), because that of an SSL
/// listener is not known; clients of HTTPS then speak HTTP/1.1.
fn server_tls(files: &TlsFiles) -> Result<ServerTls, BoxError> {
    let certificates = Certificates::builder()
        .default_certificate(Certificate::files(&files.cert, &files.key))
        .crypto_provider(Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| format!("--tls-cert and --tls-key: {error}"))?;
    Ok(ServerTls::builder(certificates).alpn([""; 0]).build()?)
}

/// Serves until SIGTERM or SIGINT, and then lets connections finish within `limit`, or until the
/// next signal.
async fn serve(balancer: ClassicLoadBalancer, limit: Duration) -> Result<(), BoxError> {
    let (handle, stop) = (balancer.handle(), stop_signal()?);
    let mut serve = pin!(balancer.serve(std::future::pending(), limit));
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
