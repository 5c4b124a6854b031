//! What the example serves without `--config`: targets and a function of its own.

use std::{
    convert::Infallible,
    fmt::Write,
    future::{Ready, ready},
    io,
    net::SocketAddr,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_lb::{
    BoxError,
    alb::config::{Config, Target},
    lambda::{FunctionName, Invocation, InvokeError, Invoked},
};

/// The configuration of the example, with targets that run in this process.
pub(crate) async fn config(listen: SocketAddr) -> Result<Config, BoxError> {
    let mut config = Config::from_toml(include_str!("alb.toml"))?;
    for (group, targets) in [("web", &["red", "green"][..]), ("web-canary", &["blue"])] {
        let group = config.target_groups.iter_mut().find(|found| found.name == group);
        let group = group.ok_or("the configuration has no such group")?;
        for name in targets {
            group.targets.push(Target::new(&start(name).await?.to_string()));
        }
    }
    config.bindings.listen.insert("443".to_owned(), vec![listen]);
    Ok(config)
}

/// Starts a target on a free port, which shows the request that it has received.
async fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let respond = service_fn(move |request| async move {
                Ok::<_, Infallible>(Response::new(describe(name, &request)))
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), respond));
        }
    });
    Ok(address)
}

fn describe(name: &str, request: &Request<Incoming>) -> String {
    let mut text = format!("target {name} received:\n\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "{} {} {:?}", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

/// A Lambda function that runs in this process. It gets the event of a target group and answers
/// as functions answer a load balancer.
pub(crate) fn hello(
    _function: &FunctionName,
    invocation: Invocation,
) -> Ready<Result<Invoked, InvokeError>> {
    let event: Value = serde_json::from_slice(&invocation.into_payload()).unwrap_or_default();
    let response = json!({
        "statusCode": 200,
        "headers": { "content-type": "text/plain" },
        "body": format!("the function was asked for {}\n", event["path"]),
    });
    ready(Ok(Invoked::new(200, response.to_string().into_bytes())))
}
