//! The functions themselves: ordinary ones, with `lambda_runtime` and `lambda_http`.

use std::{env, time::Duration};

use lambda_http::{Body, Request, RequestExt, Response};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// True in a process that a shim has started.
pub fn is_function() -> bool {
    env::var_os("AWS_LAMBDA_RUNTIME_API").is_some()
}

/// Serves invocations for ever, as the main function of a Lambda function does.
pub fn run() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match env::var("_HANDLER").as_deref() {
            Ok("http") => lambda_http::run(service_fn(http)).await,
            Ok("http-stream") => {
                lambda_http::run_with_streaming_response(service_fn(http_stream)).await
            }
            Ok("stream") => lambda_runtime::run(service_fn(stream)).await,
            Ok("mirror") => lambda_runtime::run(service_fn(mirror)).await,
            Ok("broken") => lambda_runtime::run(service_fn(broken)).await,
            _ => lambda_runtime::run(service_fn(obey)).await,
        }
    })
}

fn version() -> String {
    env::var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default()
}

/// Does what the event says, and tells who did it.
async fn obey(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (event, context) = event.into_parts();
    if let Some(millis) = event["sleep"].as_u64() {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
    if let Some(code) = event["exit"].as_i64() {
        std::process::exit(code as i32);
    }
    if let Some(message) = event["fail"].as_str() {
        return Err(message.into());
    }
    Ok(json!({
        "version": version(),
        "arn": context.invoked_function_arn,
        "client": context.client_context.map(|context| context.custom),
        "process": std::process::id(),
        "event": event,
    }))
}

/// Answers a load balancer with its own event.
async fn mirror(event: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(json!({ "statusCode": 200, "body": event.payload.to_string() }))
}

async fn broken(_: LambdaEvent<Value>) -> Result<Value, Error> {
    Err("this version does not work".into())
}

/// Writes the event's `pieces` one by one, and fails after them if it says `fail`.
async fn stream(
    event: LambdaEvent<Value>,
) -> Result<lambda_runtime::StreamResponse<lambda_runtime::streaming::Body>, Error> {
    let (mut sender, body) = lambda_runtime::streaming::channel();
    tokio::spawn(async move {
        for piece in event.payload["pieces"].as_array().into_iter().flatten() {
            let piece = piece.as_str().unwrap_or_default().to_owned();
            if sender.send_data(piece.into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if event.payload["fail"].as_bool() == Some(true) {
            sender.abort();
        }
    });
    Ok(body.into())
}

/// Counts, slowly.
async fn http_stream(_: Request) -> Result<Response<lambda_runtime::streaming::Body>, Error> {
    let (mut sender, body) = lambda_runtime::streaming::channel();
    tokio::spawn(async move {
        for number in ["one ", "two ", "three"] {
            if sender.send_data(number.into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let response = Response::builder().status(206).header("content-type", "text/plain");
    Ok(response.header("set-cookie", "a=1").header("set-cookie", "b=2").body(body)?)
}

/// A small site.
async fn http(request: Request) -> Result<Response<Body>, Error> {
    let response = Response::builder().header("x-version", version());
    let response = match (request.method().as_str(), request.raw_http_path()) {
        (_, "/hello") => {
            let query = request.query_string_parameters();
            let name = query.first("name").unwrap_or("world");
            response.body(format!("hello {name}\n").into())?
        }
        ("POST", "/echo") => {
            let kind = request.headers().get("content-type").cloned();
            let response = match kind {
                Some(kind) => response.header("content-type", kind),
                None => response.header("content-type", "application/octet-stream"),
            };
            response.body(request.into_body())?
        }
        (_, "/cookies") => {
            response.header("set-cookie", "a=1").header("set-cookie", "b=2").body(Body::Empty)?
        }
        (_, "/binary") => response
            .header("content-type", "application/octet-stream")
            .body(Body::Binary(vec![0, 255, 1, 254]))?,
        (_, "/fail") => return Err("the site is down".into()),
        (_, "/crash") => std::process::exit(7),
        _ => response.status(404).body("no such page\n".into())?,
    };
    Ok(response)
}
