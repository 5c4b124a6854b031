//! A load balancer that serves, and clients that write and read byte by byte.

use std::{
    future::pending,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use rustls::crypto::ring;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tower_lb::alb::{
    LoadBalancer,
    config::{Check, Checked, Config},
    load_balancer::LoadBalancerBuilder,
};

use crate::target_group::backend::Backend;

/// The longest wait of a test.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// Parses and checks a configuration. What the ALB would reject, such as short times, is accepted.
pub(super) fn checked(text: &str) -> Checked {
    let config = Config::from_toml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Check::new().accept_all().check(&config).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A builder with the cryptography of the tests.
pub(super) fn builder(text: &str) -> LoadBalancerBuilder {
    LoadBalancer::builder(checked(text)).crypto_provider(Arc::new(ring::default_provider()))
}

/// A configuration with the listener 8080 on a free port, which forwards to the group `web`.
pub(super) fn forwarding(to: &Backend) -> String {
    let address = to.address;
    format!(
        r#"
            [[listeners]]
            port = 8080
            default_action = {{ forward = "web" }}
            [bindings.listen]
            8080 = ["127.0.0.1:0"]
            [[target_groups]]
            name = "web"
            targets = ["{address}"]
            health_check = {{ path = "/check" }}
        "#
    )
}

/// A load balancer that serves until it is dropped.
pub(super) struct Running {
    pub(super) balancer: LoadBalancer,
    addresses: Vec<(u16, SocketAddr)>,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(text: &str) -> Self {
        Self::of(builder(text))
    }

    pub(super) fn of(builder: LoadBalancerBuilder) -> Self {
        let balancer = builder.build().unwrap_or_else(|error| panic!("{error}"));
        let server = balancer.bind().unwrap_or_else(|error| panic!("{error}"));
        let addresses = server.local_addresses();
        let task = tokio::spawn(async move {
            server.serve(pending(), Duration::from_secs(5)).await;
        });
        Self { balancer, addresses, task }
    }

    /// Returns where the listener with this port in the configuration is.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        self.addresses.iter().find(|(listener, _)| *listener == port).unwrap().1
    }

    /// Sends bytes to the first listener, and returns the response.
    pub(super) async fn send(&self, bytes: impl AsRef<[u8]>) -> Answer {
        exchange(self.addresses[0].1, bytes).await
    }

    /// Requests a path of the first listener.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.with_fields(path, "").await
    }

    /// Requests a path with more header fields, each with its line end.
    pub(super) async fn with_fields(&self, path: &str, fields: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A response as it was on the wire.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// Reads a response: its head, and as much as its framing says.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let read = timeout(LIMIT, Self::read_unbounded(stream)).await;
        read.expect("no response in time").unwrap_or_else(|error| panic!("no response: {error}"))
    }

    async fn read_unbounded(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{head}"));
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let mut body = Vec::new();
        match headers.get("content-length").map(|value| value.to_str().unwrap().parse()) {
            Some(length) => {
                body.resize(length.unwrap(), 0);
                stream.read_exact(&mut body).await?;
            }
            None if headers.contains_key("transfer-encoding") => {
                while !body.ends_with(b"0\r\n\r\n") {
                    body.push(stream.read_u8().await?);
                }
            }
            None if matches!(status, 101 | 204 | 304) => {}
            None => _ = stream.read_to_end(&mut body).await?,
        }
        Ok(Self { status, headers, body: body.into() })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Returns a field that occurs at most once.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} occurs twice: {self:?}");
        value
    }
}

/// Sends bytes on a connection of their own, and returns the first response.
pub(super) async fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let bytes = bytes.as_ref();
    // The server may answer, and close, before it has read all.
    let write = async {
        let _ = write.write_all(bytes).await;
    };
    let ((), answer) = tokio::join!(write, Answer::read(&mut read));
    answer
}

/// An empty directory of a test.
pub(super) fn directory(test: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("alb-{test}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// Writes the files of a new certificate for a host, and of its key.
pub(super) fn certificate(directory: &Path, host: &str) -> (PathBuf, PathBuf) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let files = (directory.join(format!("{host}.pem")), directory.join(format!("{host}.key")));
    std::fs::write(&files.0, cert.pem()).unwrap();
    std::fs::write(&files.1, signing_key.serialize_pem()).unwrap();
    files
}
