use std::{
    convert::Infallible,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use super::servers;

/// What happens to a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// SIGKILL, and started again on the same port.
    Killed,
    /// SIGSTOP: it hangs, its connections stay open. SIGCONT.
    Stopped,
    /// Answers 500 at once.
    Failing,
    /// Takes 300 ms instead of 5.
    Slow,
    /// Killed and started again, each second.
    Flapping,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::Killed, Self::Stopped, Self::Failing, Self::Slow, Self::Flapping];
}

/// An HTTP server in a process of its own, that answers with its address.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    kind: Kind,
    process: Child,
}

/// What serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// This test binary, run once more.
    Own,
    Nginx,
    Haproxy,
}

const ADDRESS: &str = "RELIABILITY_BACKEND";

pub(crate) async fn fleet(kinds: &[Kind]) -> Vec<Backend> {
    // All at once, so that no port is given twice.
    let mut listeners = Vec::new();
    for _ in kinds {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
    drop(listeners);
    let start = |(address, &kind)| Backend { address, kind, process: run(kind, address) };
    let fleet: Vec<_> = addresses.into_iter().zip(kinds).map(start).collect();
    for backend in &fleet {
        backend.listens().await;
    }
    fleet
}

fn run(kind: Kind, address: SocketAddr) -> Child {
    let mut command = match kind {
        Kind::Own => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let test = crate::test_path(module_path!(), "process");
            command.args(["--exact", &test, "--nocapture"]);
            command.env(ADDRESS, address.to_string());
            command
        }
        Kind::Nginx => servers::nginx(address),
        Kind::Haproxy => servers::haproxy(address),
    };
    command.stdout(Stdio::null()).spawn().unwrap()
}

impl Backend {
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// Has a fault for this long.
    pub(crate) async fn suffer(&mut self, fault: Fault, time: Duration) {
        match fault {
            Fault::Killed => {
                self.kill();
                sleep(time).await;
                self.restart().await;
            }
            Fault::Stopped => {
                self.signal("STOP");
                sleep(time).await;
                self.signal("CONT");
            }
            Fault::Failing => self.behave("fail", time).await,
            Fault::Slow => self.behave("slow", time).await,
            Fault::Flapping => {
                let end = Instant::now() + time;
                while Instant::now() < end {
                    self.kill();
                    sleep(Duration::from_millis(500)).await;
                    self.restart().await;
                    sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.process = run(self.kind, self.address);
        self.listens().await;
    }

    async fn behave(&self, how: &str, time: Duration) {
        self.tell(how).await;
        sleep(time).await;
        self.tell("well").await;
    }

    async fn tell(&self, how: &str) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("POST /be/{how} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    async fn listens(&self) {
        let start = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the backend does not start");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const WELL: u8 = 0;
const FAIL: u8 = 1;
const SLOW: u8 = 2;

/// Not a test: the backend itself, if it is told an address to listen on.
#[test]
fn process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve(address.parse().unwrap()));
}

async fn serve(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.unwrap();
    let state = Arc::new(AtomicU8::new(WELL));
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        let answer = service_fn(move |request: hyper::Request<_>| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(answer(request.uri().path(), &state, address).await) }
        });
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            let connection = server.timer(TokioTimer::new());
            let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(path: &str, state: &AtomicU8, address: SocketAddr) -> Response<Full<Bytes>> {
    match path {
        "/be/well" => state.store(WELL, Ordering::SeqCst),
        "/be/fail" => state.store(FAIL, Ordering::SeqCst),
        "/be/slow" => state.store(SLOW, Ordering::SeqCst),
        _ => {
            let mut response = Response::new(Full::from(address.to_string()));
            match state.load(Ordering::SeqCst) {
                FAIL => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
                SLOW => sleep(Duration::from_millis(300)).await,
                _ => sleep(Duration::from_millis(5)).await,
            }
            return response;
        }
    }
    Response::default()
}
