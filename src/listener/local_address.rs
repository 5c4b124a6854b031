use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::escape::Escaped;

/// The address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket: its path, or `None` for one without a name in the file system.
    Unix(Option<Arc<Path>>),
}

impl LocalAddress {
    pub(super) fn unix(path: Option<PathBuf>) -> Self {
        Self::Unix(path.map(Into::into))
    }

    /// Returns the IP address and the port; `None` for a Unix socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", Escaped(path.display())),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}
