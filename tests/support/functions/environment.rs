//! One execution environment: a process, and the Runtime API that it talks to.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc, oneshot},
    task::AbortHandle,
};

/// Killed when it is dropped.
pub struct Environment {
    child: Child,
    jobs: mpsc::Sender<Job>,
    server: AbortHandle,
}

/// One invocation, as the function's process gets it.
pub struct Job {
    pub id: String,
    pub payload: Bytes,
    pub arn: String,
    pub client_context: Option<String>,
    pub deadline_millis: u128,
    pub reply: oneshot::Sender<Reply>,
}

/// What the process has to say.
pub enum Reply {
    Answer(Bytes),
    Error(Bytes),
    /// A body to be read to its end, and somebody who waits for that.
    Stream(Incoming, oneshot::Sender<()>),
}

/// The end of an environment that did not answer.
pub enum Death {
    Exited(String),
    TimedOut,
}

impl Environment {
    pub async fn start(
        mut command: Command,
        function: &str,
        version: &str,
        handler: &str,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (jobs, receiver) = mpsc::channel(1);
        let server = tokio::spawn(serve(listener, receiver)).abort_handle();
        let child = command
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", version)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("_HANDLER", handler)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, jobs, server })
    }

    /// Runs one invocation. An environment that dies or takes too long is of no more use.
    pub async fn run(
        &mut self,
        job: Job,
        reply: oneshot::Receiver<Reply>,
        timeout: Duration,
    ) -> Result<Reply, Death> {
        let _ = self.jobs.send(job).await;
        tokio::select! {
            reply = reply => reply.map_err(|_| Death::Exited("no reply".into())),
            status = self.child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(Death::Exited(status))
            }
            () = tokio::time::sleep(timeout) => Err(Death::TimedOut),
        }
    }

    /// False if the process has ended while it was idle.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the one connection of the process and its handler share.
struct Runtime {
    jobs: Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<oneshot::Sender<Reply>>>,
}

async fn serve(listener: TcpListener, jobs: mpsc::Receiver<Job>) {
    let runtime = Arc::new(Runtime { jobs: Mutex::new(jobs), current: Mutex::new(None) });
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let runtime = Arc::clone(&runtime);
        connections.spawn(async move {
            let service = service_fn(|request| answer(&runtime, request));
            let mut server = http1::Builder::new();
            let server = server.timer(TokioTimer::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    runtime: &Runtime,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/invocation/next") {
        let Some(job) = runtime.jobs.lock().await.recv().await else {
            return Ok(status(410));
        };
        let mut response = Response::builder()
            .header("lambda-runtime-aws-request-id", &job.id)
            .header("lambda-runtime-deadline-ms", job.deadline_millis.to_string())
            .header("lambda-runtime-invoked-function-arn", &job.arn);
        if let Some(context) = &job.client_context {
            response = response.header("lambda-runtime-client-context", context);
        }
        *runtime.current.lock().await = Some(job.reply);
        return Ok(response.body(Full::new(job.payload)).unwrap_or_default());
    }
    let Some(reply) = runtime.current.lock().await.take() else {
        return Ok(status(400));
    };
    let streams = request
        .headers()
        .get("lambda-runtime-function-response-mode")
        .is_some_and(|mode| mode == "streaming");
    if streams {
        let (done, wait) = oneshot::channel();
        let _ = reply.send(Reply::Stream(request.into_body(), done));
        let _ = wait.await;
        return Ok(status(202));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(status(400));
    };
    let body = body.to_bytes();
    let failed = path.ends_with("/error");
    let _ = reply.send(if failed { Reply::Error(body) } else { Reply::Answer(body) });
    Ok(status(202))
}

fn status(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = status.try_into().unwrap_or_default();
    response
}
