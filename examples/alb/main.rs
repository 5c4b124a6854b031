//! An Application Load Balancer in one process: `cargo run --example alb`, and `-- --help`.
//!
//! It serves HTTPS on loopback with a certificate that it creates when it starts, or the
//! configuration of an existing load balancer.

mod demo;
mod http_client;
mod options;
mod tokens;

use std::{future::pending, io, process::exit};

use http::{Method, Request, Uri};
use rustls::crypto::ring;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tower_lb::{
    BoxError,
    alb::{
        LoadBalancer,
        config::{Check, Checked, Config},
    },
    listener::{Listener, Socket, tls::Certificate},
    observe::{Dashboard, Registry},
};

use options::{Command, Options};
use tokens::Issuer;

#[tokio::main]
async fn main() {
    let code = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => report(serve(options).await),
        Ok(Command::Explain { options, method, url }) => {
            report(explain(options, method, url).await)
        }
        Ok(Command::Help) => {
            print!("{}", options::USAGE);
            0
        }
        Err(error) => {
            eprintln!("alb: {error}\ntry --help");
            2
        }
    };
    exit(code);
}

fn report(result: Result<(), BoxError>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("alb: {error}");
            1
        }
    }
}

async fn serve(options: Options) -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let issuer = Issuer::new()?;
    let balancer = build(&options, &issuer).await?;
    let server = balancer.bind()?;
    for (listener, address) in server.local_addresses() {
        println!("listener {listener} on {address}");
    }
    if options.config.is_none() {
        let (_, address) = *server.local_addresses().first().ok_or("no listener")?;
        introduce(&address.to_string(), &issuer.token()?);
    }
    let operators = match options.metrics {
        Some(address) => Some(observe(address, &balancer).await?),
        None => None,
    };

    let mut hangup = signal(SignalKind::hangup())?;
    let reload = async {
        while hangup.recv().await.is_some() {
            match reload(&options, &balancer).await {
                Ok(()) => println!("configuration reloaded"),
                Err(error) => eprintln!("alb: the old configuration stays: {error}"),
            }
        }
    };
    let serving = server.serve(stop_signal()?, options.drain);
    let drained = tokio::select! {
        drained = serving => drained,
        () = reload => return Err("no signals can be received".into()),
    };
    println!("{} connections finished, {} were cut off", drained.finished, drained.cut_off);
    drop(operators);
    Ok(())
}

async fn build(options: &Options, issuer: &Issuer) -> Result<LoadBalancer, BoxError> {
    let mut builder = LoadBalancer::builder(read(options).await?)
        .crypto_provider(ring::default_provider())
        .function("hello", demo::hello);
    builder = match options.config {
        None => builder.certificate("loopback", certificate()?).http_client(issuer.keys()?),
        Some(_) => builder.http_client(http_client::http_client()?),
    };
    Ok(builder.build()?)
}

/// Reads and checks the configuration.
async fn read(options: &Options) -> Result<Checked, BoxError> {
    let config = match &options.config {
        Some(path) => Config::read(path)?,
        None => demo::config(options.listen).await?,
    };
    let check = options.accept.iter().fold(Check::new(), |check, path| check.accept(path));
    let checked = check.check(&config)?;
    for note in checked.notes() {
        eprintln!("alb: {note}");
    }
    Ok(checked)
}

async fn reload(options: &Options, balancer: &LoadBalancer) -> Result<(), BoxError> {
    if options.config.is_none() {
        return Err("there is no file to read; see --config".into());
    }
    balancer.reload(read(options).await?)?;
    Ok(())
}

async fn explain(options: Options, method: Method, url: Uri) -> Result<(), BoxError> {
    let balancer = build(&options, &Issuer::new()?).await?;
    let (head, ()) = Request::builder().method(method).uri(url).body(())?.into_parts();
    println!(
        "{}",
        balancer.explain(&head).ok_or("no listener has the scheme and port of the URL")?
    );
    Ok(())
}

/// A certificate for loopback. One for the internet comes from an authority: a client of ACME
/// writes files, and SIGHUP reads them again.
fn certificate() -> Result<Certificate, BoxError> {
    let names = ["localhost", "127.0.0.1"].map(String::from);
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    Ok(Certificate::pem(cert.pem(), signing_key.serialize_pem()))
}

/// Serves the dashboard and the metrics until the result is dropped.
async fn observe(
    address: std::net::SocketAddr,
    balancer: &LoadBalancer,
) -> Result<JoinSet<()>, BoxError> {
    let registry = Registry::new();
    registry.add(balancer);
    let listener = Listener::builder().socket(Socket::tcp(address)).name("operators").bind()?;
    println!(
        "dashboard on http://{0}/, metrics on http://{0}/metrics",
        listener.local_addresses()[0]
    );
    let mut task = JoinSet::new();
    task.spawn(async move {
        listener.serve(Dashboard::new(&registry)).shutdown_on(pending()).await;
    });
    Ok(task)
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

fn introduce(address: &str, token: &str) {
    let (curl, id) = ("curl --insecure", std::process::id());
    println!(
        "
To try:

  # 90 of 100 requests go to the targets red and green, 10 to blue
  {curl} https://{address}/
  # always blue
  {curl} -H 'X-Version: canary' https://{address}/
  # another path at the target
  {curl} https://{address}/v1/users
  # a Lambda function
  {curl} https://{address}/function/hello
  # a redirect, and a response of the load balancer itself
  {curl} -i https://{address}/old/page?a=b
  {curl} -i https://{address}/health
  # only with a JSON Web Token: 401, and 200 with this one
  token={token}
  {curl} -i https://{address}/private/page
  {curl} -H \"Authorization: Bearer $token\" https://{address}/private/page
  # which rule is it, and why not another one?
  cargo run --example alb -- --explain GET https://localhost/function/hello
  # finish what is in flight, and end
  kill -TERM {id}

With a configuration of your own: --config PATH, see --help.
"
    );
}
