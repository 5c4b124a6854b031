//! Instances: HTTP servers that can be held up, and that say what they were asked.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

use crate::target::Target;

/// It is killed with its connections when it is dropped.
pub(crate) struct Instance {
    pub(crate) state: Arc<State>,
    target: Target,
}

pub(crate) struct State {
    name: &'static str,
    /// The status of `/health`.
    pub(crate) health: AtomicU16,
    /// Permits for requests of `/hold`.
    pub(crate) held: Semaphore,
    /// Requests of other paths than `/health`.
    pub(crate) requests: AtomicUsize,
    pub(crate) checks: Mutex<Vec<String>>,
}

impl State {
    pub(crate) fn named(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            health: AtomicU16::new(200),
            held: Semaphore::new(0),
            requests: AtomicUsize::new(0),
            checks: Mutex::default(),
        })
    }
}

impl Instance {
    pub(crate) fn ip(&self) -> IpAddr {
        self.target.address.ip()
    }

    pub(crate) fn port(&self) -> u16 {
        self.target.address.port()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(SeqCst)
    }

    /// Starts an instance at an address.
    pub(crate) async fn at(name: &'static str, address: SocketAddr) -> Self {
        let state = State::named(name);
        let serving = Arc::clone(&state);
        let serve = move |mut stream| {
            let state = Arc::clone(&serving);
            async move { serve(&state, &mut stream).await }
        };
        Self { target: Target::at(address, serve).await, state }
    }
}

/// Starts an instance on each address, all on the same port.
pub(crate) async fn instances<const N: usize>(names: [&'static str; N]) -> [Instance; N] {
    let port = free_port().await;
    let started = names.into_iter().zip(1..).map(|(name, last)| async move {
        Instance::at(name, SocketAddr::from(([127, 0, 0, last], port))).await
    });
    let started = futures::future::join_all(started).await;
    started.try_into().unwrap_or_else(|_| unreachable!("one for each name"))
}

/// Returns a port that is free on all loopback addresses.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// Serves the requests of a connection: the body of a response is the name of the instance, and the
/// head of the request.
pub(crate) async fn serve(state: &State, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    while let Some(head) = read_head(stream).await {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let (mut status, mut fields) = (200, String::new());
        match path {
            "/health" => {
                status = state.health.load(SeqCst);
                state.checks.lock().unwrap().push(head.clone());
            }
            _ => {
                state.requests.fetch_add(1, SeqCst);
            }
        }
        match path {
            "/hold" => state.held.acquire().await.unwrap().forget(),
            "/login" => fields = "Set-Cookie: session=abc; Path=/\r\n".to_owned(),
            "/logout" => fields = "Set-Cookie: session=; Max-Age=0\r\n".to_owned(),
            "/close" => return,
            _ => {}
        }
        let body = format!("served by {}\n{head}", state.name);
        let response = format!(
            "HTTP/1.1 {status} Any\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let is_last = head.to_lowercase().contains("connection: close");
        if stream.write_all(response.as_bytes()).await.is_err() || is_last {
            // TLS says that this is the end.
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Returns the name of the instance that has served a response.
pub(crate) fn served_by(response: &str) -> &str {
    let name = response.split("served by ").nth(1).unwrap_or_else(|| panic!("{response}"));
    name.lines().next().unwrap()
}
