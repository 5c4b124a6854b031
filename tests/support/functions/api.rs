//! The Invoke API, and what discovery asks of the control plane.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Cloud, Deployed, Fault,
    environment::{Death, Environment, Job, Reply},
    event_stream::frame,
    lock,
};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The largest synchronous payload.
const LARGEST: usize = 6 * 1024 * 1024;

pub async fn answer(cloud: &Arc<Cloud>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let region = region(&head.headers);
    let parts: Vec<_> = head.uri.path().trim_start_matches('/').split('/').collect();
    let query = head.uri.query().unwrap_or_default();
    let qualifier = query.split('&').find_map(|pair| pair.strip_prefix("Qualifier="));
    match parts[..] {
        [_, "functions", name, what @ ("invocations" | "response-streaming-invocations")] => {
            let called = Called::new(cloud, region, name, qualifier);
            invoke(called, &head.headers, body, what != "invocations").await
        }
        [_, "functions", name, "aliases", alias] => {
            Ok(Called::new(cloud, region, name, Some(alias)).alias())
        }
        [_, "functions", name, "provisioned-concurrency"] => {
            Ok(Called::new(cloud, region, name, qualifier).provisioned())
        }
        _ => Ok(exception(404, "UnknownOperationException", json!({}))),
    }
}

/// The region that the request is signed for.
fn region(headers: &HeaderMap) -> String {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let scope = authorization.and_then(|value| value.split_once("Credential="));
    scope.and_then(|(_, scope)| scope.split('/').nth(2)).unwrap_or("us-east-1").to_owned()
}

/// The function that a request is about.
struct Called {
    cloud: Arc<Cloud>,
    region: String,
    name: String,
    qualifier: Option<String>,
}

impl Called {
    fn new(cloud: &Arc<Cloud>, region: String, name: &str, qualifier: Option<&str>) -> Self {
        let decode = |text: &str| text.replace("%3A", ":").replace("%24", "$");
        let name = decode(name);
        // ARNs and plain names alike end with the name; the qualifier comes as a parameter.
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        Self { cloud: Arc::clone(cloud), region, name, qualifier: qualifier.map(decode) }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Deployed) -> R) -> Option<R> {
        let mut functions = lock(&self.cloud.functions);
        functions.get_mut(&(self.region.clone(), self.name.clone())).map(look)
    }

    /// The number of the version to run, from 1.
    fn version(&self) -> Option<usize> {
        self.with(|function| {
            let latest = function.handlers.len();
            let Some(qualifier) = &self.qualifier else { return Some(latest) };
            if qualifier == "$LATEST" {
                return Some(latest);
            }
            if let Ok(version) = qualifier.parse() {
                return (1..=latest).contains(&version).then_some(version);
            }
            let alias = function.aliases.get(qualifier)?;
            match alias.additional {
                // As AWS does it: a coin is tossed for each invocation.
                Some((version, weight)) if rand::random::<f64>() < weight => Some(version),
                _ => Some(alias.version),
            }
        })?
    }

    /// As it is reported: without a qualifier it is `$LATEST` that runs.
    fn version_name(&self, version: usize) -> String {
        match &self.qualifier {
            None => "$LATEST".into(),
            Some(qualifier) if qualifier == "$LATEST" => "$LATEST".into(),
            Some(_) => version.to_string(),
        }
    }

    fn alias(&self) -> Response<Body> {
        let name = self.qualifier.clone().unwrap_or_default();
        let alias = self.with(|function| function.aliases.get(&name).copied()).flatten();
        let Some(alias) = alias else { return self.not_found() };
        let mut answer = json!({ "Name": name, "FunctionVersion": alias.version.to_string() });
        if let Some((version, weight)) = alias.additional {
            let weights = json!({ version.to_string(): weight });
            answer["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
        }
        Response::new(full(answer.to_string().into()))
    }

    fn provisioned(&self) -> Response<Body> {
        match self.with(|function| function.provisioned).flatten() {
            Some((available, requested)) => {
                let status = if available == requested { "READY" } else { "IN_PROGRESS" };
                let answer = json!({
                    "RequestedProvisionedConcurrentExecutions": requested,
                    "AvailableProvisionedConcurrentExecutions": available,
                    "AllocatedProvisionedConcurrentExecutions": available,
                    "Status": status,
                });
                Response::new(full(answer.to_string().into()))
            }
            None => exception(404, "ProvisionedConcurrencyConfigNotFoundException", json!({})),
        }
    }

    fn not_found(&self) -> Response<Body> {
        let message = format!("Function not found: {}", self.name);
        exception(404, "ResourceNotFoundException", json!({ "Type": "User", "Message": message }))
    }
}

async fn invoke(
    called: Called,
    headers: &HeaderMap,
    payload: Bytes,
    streaming: bool,
) -> io::Result<Response<Body>> {
    let Some(version) = called.version() else { return Ok(called.not_found()) };
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match called.with(|function| function.fault).flatten() {
        None => {}
        Some(Fault::Throttle { reason, retry_after }) => return Ok(throttled(reason, retry_after)),
        Some(Fault::Exception { status, code }) => {
            return Ok(exception(status, code, json!({ "Message": "as told" })));
        }
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Cut) => return Err(io::ErrorKind::ConnectionReset.into()),
    }
    if payload.len() > LARGEST {
        return Ok(exception(413, "RequestTooLargeException", json!({ "Type": "User" })));
    }
    if !payload.is_empty() && serde_json::from_slice::<Value>(&payload).is_err() {
        let said = json!({ "Type": "User", "Message": "Could not parse request body into json" });
        return Ok(exception(400, "InvalidRequestContentException", said));
    }
    let id = format!("{:016x}", rand::random::<u64>());
    let kind = header("x-amz-invocation-type");
    if kind.as_deref() == Some("DryRun") {
        return Ok(Response::builder().status(204).body(full(Bytes::new())).unwrap_or_default());
    }
    let Some(running) = Running::begin(&called) else {
        return Ok(throttled("ReservedFunctionConcurrentInvocationLimitExceeded", Some(1)));
    };
    let context = header("x-amz-client-context").and_then(|text| STANDARD.decode(text).ok());
    let context = context.and_then(|json| String::from_utf8(json).ok());
    let run = run(called, running, version, id.clone(), payload, context);
    if kind.as_deref() == Some("Event") {
        tokio::spawn(run);
        return Ok(Response::builder().status(202).body(full(Bytes::new())).unwrap_or_default());
    }
    let ran = run.await?;
    let mut response = Response::builder()
        .header("x-amz-executed-version", ran.version)
        .header("x-amzn-requestid", &id);
    if header("x-amz-log-type").as_deref() == Some("Tail") {
        let log = format!("START RequestId: {id}\nEND RequestId: {id}\n");
        response = response.header("x-amz-log-result", STANDARD.encode(log));
    }
    let body = match ran.reply {
        Reply::Answer(body) if streaming => streamed(vec![Ok(chunk(&body))]),
        Reply::Error(body) if streaming => streamed(vec![Err(body)]),
        Reply::Answer(body) => full(body),
        Reply::Error(body) => {
            response = response.header("x-amz-function-error", "Unhandled");
            full(body)
        }
        Reply::Stream(body, done) => {
            let environment = ran.environment;
            let events = body.into_data_stream_with_end(move || {
                let _ = done.send(());
                drop(environment);
            });
            if streaming {
                StreamBody::new(events).boxed_unsync()
            } else {
                return Err(io::Error::other("a streaming function was invoked without streaming"));
            }
        }
    };
    Ok(response.body(body).unwrap_or_default())
}

/// One of a function's running invocations.
struct Running(Arc<Cloud>, (String, String));

impl Running {
    /// None if the function's reserved concurrency is used up.
    fn begin(called: &Called) -> Option<Self> {
        let has_room = called.with(|function| {
            let has_room = function.reserved.is_none_or(|reserved| function.running < reserved);
            function.running += usize::from(has_room);
            function.invocations += usize::from(has_room);
            has_room
        });
        let key = (called.region.clone(), called.name.clone());
        has_room?.then(|| Self(Arc::clone(&called.cloud), key))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(function) = lock(&self.0.functions).get_mut(&self.1) {
            function.running -= 1;
        }
    }
}

struct Ran {
    version: String,
    reply: Reply,
    /// Kept while it writes.
    environment: Option<Idle>,
}

/// An environment that goes back to the idle ones when it is dropped.
struct Idle {
    cloud: Arc<Cloud>,
    /// Region and name.
    function: (String, String),
    version: usize,
    environment: Option<Environment>,
    /// The function counts as running until this is dropped.
    _running: Running,
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let (Some(function), Some(environment)) =
            (lock(&self.cloud.functions).get_mut(&self.function), self.environment.take())
        {
            function.idle.entry(self.version).or_default().push(environment);
        }
    }
}

async fn run(
    called: Called,
    running: Running,
    version: usize,
    id: String,
    payload: Bytes,
    client_context: Option<String>,
) -> io::Result<Ran> {
    let name = called.version_name(version);
    let warm = called.with(|function| {
        let idle = function.idle.entry(version).or_default();
        idle.retain_mut(Environment::is_alive);
        let warm = idle.pop();
        function.cold_starts += usize::from(warm.is_none());
        (warm, function.handlers[version - 1], function.timeout)
    });
    let Some((warm, handler, timeout)) = warm else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let mut environment = match warm {
        Some(warm) => warm,
        None => {
            let command = (called.cloud.command)();
            Environment::start(command, &called.name, &name, handler).await?
        }
    };
    let (sender, receiver) = oneshot::channel();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let qualifier = called.qualifier.iter().map(|qualifier| format!(":{qualifier}"));
    let job = Job {
        id,
        payload: if payload.is_empty() { "null".into() } else { payload },
        arn: format!(
            "arn:aws:lambda:{}:123456789012:function:{}{}",
            called.region,
            called.name,
            qualifier.collect::<String>()
        ),
        client_context,
        deadline_millis: (now + timeout).as_millis(),
        reply: sender,
    };
    let died = |kind: &str, message: String| {
        Reply::Error(json!({ "errorType": kind, "errorMessage": message }).to_string().into())
    };
    let (reply, alive) = match environment.run(job, receiver, timeout).await {
        Ok(reply) => (reply, true),
        Err(Death::Exited(status)) => (died("Runtime.ExitError", status), false),
        Err(Death::TimedOut) => {
            let message = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
            (died("Sandbox.Timedout", message), false)
        }
    };
    let key = (called.region.clone(), called.name.clone());
    let idle = Idle {
        cloud: Arc::clone(&called.cloud),
        function: key,
        version,
        environment: alive.then_some(environment),
        _running: running,
    };
    // It is busy while it streams, and idle otherwise.
    let environment = matches!(reply, Reply::Stream(..)).then_some(idle);
    Ok(Ran { version: name, reply, environment })
}

trait StreamWithEnd {
    fn into_data_stream_with_end(
        self,
        end: impl FnOnce() + Send + 'static,
    ) -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static;
}

impl StreamWithEnd for Incoming {
    /// The pieces as events, and the end as one; trailers tell of an error.
    fn into_data_stream_with_end(
        self,
        end: impl FnOnce() + Send + 'static,
    ) -> impl stream::Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static {
        stream::unfold(Some((self, end, None)), async |state| {
            let (mut body, end, mut failed) = state?;
            loop {
                let Some(Ok(frame)) = body.frame().await else {
                    end();
                    return Some((Ok(Frame::data(complete(failed.as_deref()))), None));
                };
                let Ok(data) = frame.into_data() else { continue };
                // `lambda_runtime` writes its trailers as the last of the data.
                if let Some(trailers) = data.strip_prefix(b"Lambda-Runtime-Function-Error-Type: ") {
                    let kind = trailers.split(|&byte| byte == b'\r').next().unwrap_or_default();
                    failed = Some(String::from_utf8_lossy(kind).into_owned());
                    continue;
                }
                return Some((Ok(Frame::data(chunk(&data))), Some((body, end, failed))));
            }
        })
    }
}

fn chunk(data: &[u8]) -> Bytes {
    frame("PayloadChunk", "application/octet-stream", data)
}

fn complete(error: Option<&str>) -> Bytes {
    let end = match error {
        None => json!({}),
        Some(code) => {
            json!({ "ErrorCode": code, "ErrorDetails": "{\"errorMessage\":\"it broke\"}" })
        }
    };
    frame("InvokeComplete", "application/json", end.to_string().as_bytes())
}

fn streamed(events: Vec<Result<Bytes, Bytes>>) -> Body {
    let end = match events.last() {
        Some(Err(details)) => frame(
            "InvokeComplete",
            "application/json",
            json!({ "ErrorCode": "Unhandled", "ErrorDetails": String::from_utf8_lossy(details) })
                .to_string()
                .as_bytes(),
        ),
        _ => complete(None),
    };
    let chunks = events.into_iter().filter_map(Result::ok).chain([end]);
    StreamBody::new(stream::iter(chunks).map(|frame| Ok(Frame::data(frame)))).boxed_unsync()
}

fn throttled(reason: &str, retry_after: Option<u32>) -> Response<Body> {
    let said = json!({ "Reason": reason, "Type": "User", "message": "Rate Exceeded." });
    let mut response = exception(429, "TooManyRequestsException", said);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}

fn exception(status: u16, code: &str, said: Value) -> Response<Body> {
    let response = Response::builder().status(status).header("x-amzn-errortype", code);
    response.body(full(said.to_string().into())).unwrap_or_default()
}

fn full(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}
