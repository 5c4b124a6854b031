//! A client of TLS servers, as a process of its own.

use std::{
    error::Error,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::roles::{LARGE, LARGE_PATH};

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Handshakes that are made at the same time.
const CLIENTS: usize = 16;
/// The name in the certificate.
pub const NAME: &str = "localhost";

/// Runs a kind of load: `full` or `resumed` handshakes with one request each, or a `bulk` download,
/// for a number of seconds; or `idle` connections of a number, until standard input ends.
///
/// Prints how many handshakes, bytes or connections there were.
pub fn run(arguments: &[String]) -> std::result::Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(apply(arguments)).map_err(|error| error.to_string())?;
    println!("{done}");
    Ok(())
}

async fn apply(arguments: &[String]) -> Result<u64> {
    let [kind, address, certificate, number] = arguments else {
        return Err("a kind, an address, a certificate and a number".into());
    };
    let target = Target::new(address.parse()?, Path::new(certificate), kind != "full")?;
    let number: u32 = number.parse()?;
    let until = Instant::now() + Duration::from_secs(number.into());
    match kind.as_str() {
        "full" => handshakes(target, HandshakeKind::Full, until).await,
        "resumed" => handshakes(target, HandshakeKind::Resumed, until).await,
        "bulk" => bulk(&target, until).await,
        "idle" => idle(&target, number).await,
        other => Err(format!("no load {other}").into()),
    }
}

struct Target {
    address: SocketAddr,
    connector: TlsConnector,
    resumes: bool,
}

impl Target {
    fn new(address: SocketAddr, certificate: &Path, resumes: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate)?)?;
        let mut provider = ring::default_provider();
        provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![ring::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self { address, connector: TlsConnector::from(Arc::new(config)), resumes })
    }

    fn with_own_tickets(&self) -> Self {
        let mut config = ClientConfig::clone(self.connector.config());
        if self.resumes {
            config.resumption = Resumption::default();
        }
        Self { connector: TlsConnector::from(Arc::new(config)), ..*self }
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        Ok(self.connector.connect(ServerName::try_from(NAME)?, socket).await?)
    }
}

async fn handshakes(target: Target, expected: HandshakeKind, until: Instant) -> Result<u64> {
    let count = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        // Tickets of its own: they are used once, and a client keeps eight.
        let (target, count) = (target.with_own_tickets(), Arc::clone(&count));
        clients.spawn(async move {
            exchange(&mut target.connect().await?, "close").await?;
            while Instant::now() < until {
                let mut stream = target.connect().await?;
                if stream.get_ref().1.handshake_kind() != Some(expected) {
                    return Err(format!("not {expected:?}").into());
                }
                // The tickets of the next handshake come with the response.
                exchange(&mut stream, "close").await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Result::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(count.load(Ordering::Relaxed))
}

/// Sends a request and reads its response of 128 bytes.
async fn exchange(stream: &mut TlsStream<TcpStream>, connection: &str) -> Result {
    let request = format!("GET / HTTP/1.1\r\nhost: {NAME}\r\nconnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    read_response(stream, 128).await
}

/// Reads until as much of a body has arrived.
async fn read_response(stream: &mut TlsStream<TcpStream>, length: usize) -> Result {
    let mut buffer = vec![0; 1 << 16];
    let mut filled = 0;
    let head = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err("the connection was closed within a head".into());
        }
        filled += read;
        if let Some(at) = buffer[..filled].windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(&buffer[..head]).into());
    }
    let mut missing = length.saturating_sub(filled - head);
    while missing > 0 {
        match stream.read(&mut buffer).await? {
            0 => return Err("the connection was closed within a body".into()),
            read => missing = missing.saturating_sub(read),
        }
    }
    Ok(())
}

async fn bulk(target: &Target, until: Instant) -> Result<u64> {
    let mut stream = target.connect().await?;
    let request = format!("GET {LARGE_PATH} HTTP/1.1\r\nhost: {NAME}\r\n\r\n");
    let mut bytes = 0;
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await?;
        read_response(&mut stream, LARGE).await?;
        bytes += LARGE as u64;
    }
    Ok(bytes)
}

/// Holds connections that have had one request each.
async fn idle(target: &Target, number: u32) -> Result<u64> {
    let mut held = Vec::new();
    for _ in 0..number {
        let mut stream = target.connect().await?;
        exchange(&mut stream, "keep-alive").await?;
        held.push(stream);
    }
    println!("{}", held.len());
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(held.len() as u64)
}
