//! Clients by hand, and those that others have written.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A SETTINGS frame without settings.
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A connection that a test writes and reads byte by byte.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        self.response().await
    }

    /// Reads a response with a `Content-Length`.
    pub(crate) async fn response(&mut self) -> String {
        let head = self.until("\r\n\r\n").await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        let read = timeout(Duration::from_secs(20), self.0.read_exact(&mut body));
        read.await.unwrap().unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(Duration::from_secs(20), self.0.read_u8()).await.unwrap();
            read.push(byte.unwrap_or_else(|_| panic!("closed: {}", read.escape_ascii())));
        }
        String::from_utf8_lossy(&read).into_owned()
    }

    /// Reads until the connection is closed. Returns what came and how long that took.
    pub(crate) async fn rest(&mut self) -> (String, Duration) {
        let (start, mut read) = (Instant::now(), Vec::new());
        let closed = timeout(Duration::from_secs(20), self.0.read_to_end(&mut read)).await;
        closed.expect("it is not closed").unwrap_or_default();
        (String::from_utf8_lossy(&read).into_owned(), start.elapsed())
    }
}

pub(crate) fn is_installed(name: &str, version: &str) -> bool {
    let mut command = Command::new(name);
    command.arg(version).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let installed = command.status().is_ok_and(|status| status.success());
    if !installed {
        eprintln!("SKIPPED: {name} is not installed");
    }
    installed
}

/// Runs a command to its end. Returns what it prints.
pub(crate) async fn output(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output());
    let output = output.await.unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) async fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20"]).args(arguments);
    output(curl).await
}
