//! A Lambda of one's own: the Invoke API in front, the Runtime API behind, and between them real
//! processes that run functions with `lambda_runtime`. It can be told to throttle, to be slow, to cut
//! connections, and to weight aliases.
//!
//! Regions are told apart by the scope that requests are signed for.

mod api;
mod environment;
pub mod event_stream;
pub mod functions;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_sdk_lambda::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use environment::Environment;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, process::Command, task::AbortHandle};

/// Runs until it is dropped, and its functions with it.
pub struct Shim {
    pub address: SocketAddr,
    cloud: Arc<Cloud>,
    server: AbortHandle,
}

pub struct Cloud {
    /// How to start the process of a function.
    command: fn() -> Command,
    functions: Mutex<HashMap<(String, String), Deployed>>,
}

/// One function in one region.
pub struct Deployed {
    /// The handlers of version 1 and following; `$LATEST` is the last.
    handlers: Vec<&'static str>,
    aliases: BTreeMap<String, Alias>,
    pub timeout: Duration,
    /// Reserved concurrency.
    pub reserved: Option<usize>,
    running: usize,
    pub fault: Option<Fault>,
    idle: HashMap<usize, Vec<Environment>>,
    pub cold_starts: usize,
    pub invocations: usize,
    /// Provisioned concurrency as `(available, requested)`.
    pub provisioned: Option<(i32, i32)>,
}

impl Deployed {
    pub fn forget_alias(&mut self, alias: &str) {
        self.aliases.remove(alias);
    }
}

/// A version, and perhaps another with its share of the traffic.
#[derive(Clone, Copy)]
pub struct Alias {
    pub version: usize,
    pub additional: Option<(usize, f64)>,
}

/// What the service does instead of its work.
#[derive(Clone, Copy)]
pub enum Fault {
    Throttle {
        reason: &'static str,
        retry_after: Option<u32>,
    },
    Exception {
        status: u16,
        code: &'static str,
    },
    /// Takes so much longer.
    Delay(Duration),
    /// Reads the request and closes the connection.
    Cut,
}

impl Shim {
    /// Starts on any free port. `command` starts a process that runs [`functions::run`].
    pub async fn start(command: fn() -> Command) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let cloud = Arc::new(Cloud { command, functions: Mutex::default() });
        let server = tokio::spawn(serve(listener, Arc::clone(&cloud))).abort_handle();
        Ok(Self { address, cloud, server })
    }

    /// Publishes the next version of a function, whose code is this handler. The first is 1.
    pub fn publish(&self, region: &str, name: &str, handler: &'static str) -> usize {
        let mut functions = lock(&self.cloud.functions);
        let function = functions.entry((region.into(), name.into())).or_insert_with(|| Deployed {
            handlers: Vec::new(),
            aliases: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            reserved: None,
            running: 0,
            fault: None,
            idle: HashMap::new(),
            cold_starts: 0,
            invocations: 0,
            provisioned: None,
        });
        function.handlers.push(handler);
        function.handlers.len()
    }

    pub fn alias(&self, region: &str, name: &str, alias: &str, to: Alias) {
        self.with(region, name, |function| function.aliases.insert(alias.into(), to));
    }

    /// Changes or looks at a function that was published.
    pub fn with<R>(&self, region: &str, name: &str, change: impl FnOnce(&mut Deployed) -> R) -> R {
        let mut functions = lock(&self.cloud.functions);
        change(functions.get_mut(&(region.into(), name.into())).expect("published"))
    }

    /// The same fault for all functions of a region, or none.
    pub fn region_fault(&self, region: &str, fault: Option<Fault>) {
        let mut functions = lock(&self.cloud.functions);
        let in_region = functions.iter_mut().filter(|((of, _), _)| of == region);
        in_region.for_each(|(_, function)| function.fault = fault);
    }

    /// A client of the SDK for one region, without retries, with timeouts.
    pub fn client(&self, region: &str) -> Client {
        client(&format!("http://{}", self.address), region)
    }
}

pub fn client(endpoint: &str, region: &str) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(20))
        .build();
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new("test", "test", None, None, "shim"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

async fn serve(listener: TcpListener, cloud: Arc<Cloud>) {
    // Dropped with this future, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let cloud = Arc::clone(&cloud);
        connections.spawn(async move {
            let service = hyper::service::service_fn(|request| api::answer(&cloud, request));
            let mut server = http1::Builder::new();
            let server = server.timer(TokioTimer::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.server.abort();
        // Processes are killed when their environments are dropped.
        lock(&self.cloud.functions).clear();
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
