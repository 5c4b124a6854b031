use std::{
    fs, io,
    net::{self, SocketAddr},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net as unix,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockAddr, Type};
use tokio::net::{TcpListener, UnixListener};

#[cfg(feature = "tls")]
use super::tls::ServerTls;
use super::{ListenError, LocalAddress, ProxyProtocol};
use crate::ConfigError;

/// One address that a [`Listener`](super::Listener) listens on, and what each connection to it
/// begins with: a PROXY header, a TLS handshake, or HTTP.
#[derive(Debug)]
pub struct Socket {
    source: Source,
    backlog: u32,
    acceptors: usize,
    reuse_port: bool,
    opening: Opening,
}

#[derive(Debug)]
enum Source {
    Tcp(SocketAddr),
    Unix(PathBuf),
    OpenTcp(net::TcpListener),
    OpenUnix(unix::UnixListener),
}

/// What comes before HTTP on the connections of a socket.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening {
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<ServerTls>,
}

/// More acceptors than this are a mistake: each is a socket and a task.
const MAX_ACCEPTORS: usize = 1024;

impl Socket {
    /// Listens on an IP address and a port. Port 0 takes any free one.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::new(Source::Tcp(address))
    }

    /// Listens on a Unix socket. A socket at `path` that no process listens on any more is
    /// replaced; any other file is an error. The file is removed when the listener stops.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::Unix(path.into()))
    }

    /// Listens on an open TCP socket, for one with options of your own.
    #[must_use]
    pub fn from_tcp(socket: net::TcpListener) -> Self {
        Self::new(Source::OpenTcp(socket))
    }

    /// Listens on an open Unix socket. Its file is left alone.
    #[must_use]
    pub fn from_unix(socket: unix::UnixListener) -> Self {
        Self::new(Source::OpenUnix(socket))
    }

    /// Returns the sockets that this process has inherited, in the protocol of systemd: the
    /// variables `LISTEN_FDS` and `LISTEN_PID`, and descriptors from 3 on. Without them the list is
    /// empty. The variables are removed, so a second call returns nothing.
    ///
    /// A socket that is inherited survives a restart: connections queue in the kernel until the
    /// next process accepts them. Call this while the process has one thread, because it changes
    /// the environment.
    ///
    /// # Errors
    ///
    /// If a descriptor is not a listening stream socket.
    pub fn inherited() -> io::Result<Vec<Self>> {
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::with_capacity(descriptors.len());
        for index in 0..descriptors.len() {
            // A socket of the wrong family is left where it is.
            let socket = match descriptors.take_tcp_listener(index) {
                Ok(socket) => socket.map(Self::from_tcp),
                Err(_) => descriptors.take_unix_listener(index)?.map(Self::from_unix),
            };
            sockets.extend(socket);
        }
        Ok(sockets)
    }

    fn new(source: Source) -> Self {
        let opening = Opening::default();
        Self { source, backlog: 4096, acceptors: 1, reuse_port: false, opening }
    }

    setters! {
        /// Sets how many connections may wait in the kernel to be accepted; the kernel has a limit
        /// of its own. Default 4096. It has no effect on a socket that is open already.
        pub fn backlog(connections: u32) => backlog = connections;
        /// Sets the number of sockets with this address, each with a task that accepts. More than 1
        /// sets `SO_REUSEPORT`, so that the kernel spreads connections over them. Default 1.
        pub fn acceptors(number: usize) => acceptors = number;
        /// Sets `SO_REUSEPORT`, so that another process of the same user can listen on the same
        /// address. The connections that wait at a socket are lost when it is closed, so an
        /// inherited socket is better for restarts. Default `false`.
        pub fn reuse_port(reused: bool) => reuse_port = reused;
        /// Expects a PROXY header at the beginning of each connection, and closes those without
        /// one. Default none.
        pub fn proxy_protocol(settings: ProxyProtocol) => opening.proxy_protocol = Some(settings);
    }

    /// Expects a TLS handshake on each connection, after the PROXY header if there is one. Default
    /// none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.opening.tls = Some(tls);
        self
    }

    /// Opens the socket once for each acceptor. `http2` is whether the listener serves HTTP/2.
    pub(super) fn bind(self, http2: bool) -> Result<Vec<BoundSocket>, ListenError> {
        self.check(http2)?;
        let named = self.source.to_string();
        self.open().map_err(|error| ListenError::Socket { address: named, error })
    }

    fn check(&self, http2: bool) -> Result<(), ConfigError> {
        ConfigError::if_zero("backlog", self.backlog.into())?;
        ConfigError::unless(
            (1..=MAX_ACCEPTORS).contains(&self.acceptors),
            "acceptors",
            self.acceptors,
            "1 to 1024",
        )?;
        if !matches!(self.source, Source::Tcp(_)) {
            let expected = "1 for a socket that is not opened by its IP address";
            ConfigError::unless(self.acceptors == 1, "acceptors", self.acceptors, expected)?;
            let expected = "false for a socket that is not opened by its IP address";
            ConfigError::unless(!self.reuse_port, "reuse_port", true, expected)?;
        }
        if let Some(settings) = &self.opening.proxy_protocol {
            settings.check().map_err(|error| error.within("proxy_protocol"))?;
        }
        #[cfg(feature = "tls")]
        if self.opening.tls.as_ref().is_some_and(|tls| !http2 && tls.serves_http2_only()) {
            let expected =
                "a protocol besides `h2`, which a listener without HTTP/2 does not serve";
            return Err(ConfigError::new("alpn", expected).within("tls"));
        }
        #[cfg(not(feature = "tls"))]
        let _ = http2;
        Ok(())
    }

    fn open(self) -> io::Result<Vec<BoundSocket>> {
        let reuse_port = self.reuse_port || self.acceptors > 1;
        let mut bound = Vec::with_capacity(self.acceptors);
        let opening = Arc::new(self.opening);
        match self.source {
            Source::Tcp(mut address) => {
                for _ in 0..self.acceptors {
                    let socket = open_tcp(address, self.backlog, reuse_port)?;
                    // All acceptors have the port that the first one got.
                    address = socket.local_addr()?;
                    bound.push(BoundSocket::tcp(socket, &opening)?);
                }
            }
            Source::Unix(path) => {
                let socket = open_unix(&path, self.backlog)?;
                bound.push(BoundSocket::unix(socket, SocketFile::new(&path), &opening)?);
            }
            Source::OpenTcp(socket) => bound.push(BoundSocket::tcp(socket, &opening)?),
            Source::OpenUnix(socket) => bound.push(BoundSocket::unix(socket, None, &opening)?),
        }
        Ok(bound)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => LocalAddress::unix(Some(path.clone())).fmt(f),
            Self::OpenTcp(_) => f.write_str("an open TCP socket"),
            Self::OpenUnix(_) => f.write_str("an open Unix socket"),
        }
    }
}

fn open_tcp(address: SocketAddr, backlog: u32, reuse_port: bool) -> io::Result<net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = socket2::Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // Otherwise a restart would have to wait for the connections of the previous process.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn open_unix(path: &Path, backlog: u32) -> io::Result<unix::UnixListener> {
    let is_stale = || {
        fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
            && unix::UnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_stale() {
        fs::remove_file(path)?;
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A socket that listens.
#[derive(Debug)]
pub(super) struct BoundSocket {
    pub(super) socket: ListeningSocket,
    pub(super) address: LocalAddress,
    pub(super) opening: Arc<Opening>,
}

#[derive(Debug)]
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[allow(dead_code, reason = "it is dropped with the socket")] Option<SocketFile>,
    ),
}

impl BoundSocket {
    fn tcp(socket: net::TcpListener, opening: &Arc<Opening>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = LocalAddress::Tcp(socket.local_addr()?);
        let socket = ListeningSocket::Tcp(TcpListener::from_std(socket)?);
        Ok(Self { socket, address, opening: Arc::clone(opening) })
    }

    fn unix(
        socket: unix::UnixListener,
        file: Option<SocketFile>,
        opening: &Arc<Opening>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let path = socket.local_addr()?.as_pathname().map(Path::to_path_buf);
        let address = LocalAddress::unix(path);
        let socket = ListeningSocket::Unix(UnixListener::from_std(socket)?, file);
        Ok(Self { socket, address, opening: Arc::clone(opening) })
    }
}

/// The file of a Unix socket, which is removed with the listener unless another has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), identity: Self::identity(path)? })
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        let file = fs::symlink_metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path) == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
