//! Servers that tests direct, and a front that serves a group to clients.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::{Service, ServiceExt};
use tower_lb::{
    BoxError,
    alb::{
        ElbError, TargetGroup, TargetGroupBuilder,
        target_group::{HealthChecks, TargetBody},
    },
};

pub(crate) type Body = Full<Bytes>;
pub(crate) type Group = TargetGroup<Body>;

/// The path of health checks.
pub(crate) const CHECK: &str = "/check";
/// The longest wait of a test.
const LIMIT: Duration = Duration::from_secs(20);

/// A server on a loopback port, until it is dropped.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    served: Arc<AtomicU64>,
    checked: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Answers every request with 200.
    pub(crate) async fn good() -> Self {
        Self::answering(|_| async { reply(200) }).await
    }

    /// Answers health checks with 200, and other requests as `answer` does.
    pub(crate) async fn answering<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::checked_by(|| 200, answer).await
    }

    /// Answers health checks with the status of `check`, and other requests as `answer` does.
    pub(crate) async fn checked_by<C, F, R>(check: C, answer: F) -> Self
    where
        C: Fn() -> u16 + Clone + Send + Sync + 'static,
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (served, checked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let counts = (Arc::clone(&served), Arc::clone(&checked));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (check, answer, counts) = (check.clone(), answer.clone(), counts.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let is_check = request.uri().path() == CHECK;
                    let count = if is_check { &counts.1 } else { &counts.0 };
                    count.fetch_add(1, Relaxed);
                    let answered = (!is_check).then(|| answer(request));
                    let check = check.clone();
                    async move {
                        Ok::<_, Infallible>(match answered {
                            Some(answered) => answered.await,
                            None => reply(check()),
                        })
                    }
                });
                connections.spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, served, checked, task }
    }

    /// Writes `bytes` after the head of a request and closes the connection. Health checks pass.
    pub(crate) async fn raw(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let read = stream.read(&mut head).await.unwrap_or_default();
                    let is_check = head[..read].windows(CHECK.len()).any(|w| w == CHECK.as_bytes());
                    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(if is_check { ok } else { &bytes }).await;
                });
            }
        });
        Self { address, served: Arc::default(), checked: Arc::default(), task }
    }

    /// Returns the requests other than health checks.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }

    pub(crate) fn checked(&self) -> u64 {
        self.checked.load(Relaxed)
    }

    pub(crate) fn id(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn reply(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::default()).unwrap()
}

/// Health checks that a test can wait for.
pub(crate) fn checks() -> HealthChecks {
    HealthChecks::new()
        .path(CHECK)
        .interval(Duration::from_millis(50))
        .timeout(Duration::from_secs(2))
        .healthy_threshold(2)
        .unhealthy_threshold(2)
}

/// A group of these backends, with fast checks.
pub(crate) fn group(backends: &[&Backend]) -> TargetGroupBuilder<Body> {
    let targets = backends.iter().map(|backend| backend.address);
    TargetGroup::builder("test").targets(targets).health_checks(checks()).unrestricted()
}

/// Waits until as many targets are healthy.
pub(crate) async fn healthy(group: &Group, targets: usize) {
    until("targets are healthy", || group.group_health().healthy == targets).await;
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what} within {LIMIT:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::default()).unwrap()
}

/// Sends a request and reads the response to its end.
pub(crate) async fn send(
    group: &Group,
    request: Request<Body>,
) -> Result<Response<Bytes>, BoxError> {
    let response = timeout(LIMIT, group.clone().oneshot(request)).await.unwrap()?;
    let (head, body) = response.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Sends a request and returns its status, as a load balancer would.
pub(crate) async fn status(group: &Group, request: Request<Body>) -> u16 {
    match send(group, request).await {
        Ok(response) => response.status().as_u16(),
        Err(error) => ElbError::of(&*error).status().as_u16(),
    }
}

/// Serves `service` to clients on a loopback port, with its errors as statuses.
pub(crate) async fn front<S>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<TargetBody>, Error = BoxError>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let service = service.clone();
            let service = service_fn(move |request| {
                let service = service.clone();
                async move {
                    Ok::<_, Infallible>(match service.oneshot(request).await {
                        Ok(response) => response.map(BodyExt::boxed_unsync),
                        Err(error) => ElbError::of(&*error).response().map(boxed),
                    })
                }
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn boxed(text: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(text).map_err(|never| match never {}).boxed_unsync()
}

/// Runs curl. Returns `None`, and prints a line, if it is not installed.
pub(crate) async fn curl(arguments: &[&str]) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: no curl");
        return None;
    }
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "10"]).args(arguments);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

pub(crate) fn is_ok(status: u16) -> bool {
    StatusCode::from_u16(status).unwrap().is_success()
}
