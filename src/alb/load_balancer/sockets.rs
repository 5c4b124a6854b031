use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Weak},
};

use super::state::NodeKey;
use crate::alb::config::{Problem, ProblemKind};

/// How many connections may wait in the kernel to be accepted; it has a limit of its own.
const BACKLOG: i32 = 4096;

/// The open sockets of all nodes, by the listener's port and the address in the configuration.
///
/// A socket is closed when no node has it. Until then, a node with the same address shares it, so
/// that a listener can get or lose an address, and come back while it still drains.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<(u16, SocketAddr), Weak<TcpListener>>,
}

/// The open sockets of a node. The load balancer keeps a copy of each, so that another listener can
/// take them over and no connection is refused meanwhile.
#[derive(Debug)]
pub(super) struct Bound {
    sockets: Vec<Arc<TcpListener>>,
}

impl Sockets {
    /// Returns the sockets of a node, and opens those that no node has.
    pub(super) fn bind(&mut self, key: &NodeKey) -> Result<Bound, Problem> {
        self.open.retain(|_, socket| socket.strong_count() > 0);
        let sockets = key.addresses.iter().map(|address| {
            self.shared(key.port, *address).map_err(|error| {
                let path = format!("listeners.{}.addresses", key.port);
                let expected = format!("an address that can be bound ({error})");
                Problem::new(ProblemKind::Invalid, path, expected).with_value(address)
            })
        });
        Ok(Bound { sockets: sockets.collect::<Result<_, _>>()? })
    }

    fn shared(&mut self, port: u16, address: SocketAddr) -> io::Result<Arc<TcpListener>> {
        if let Some(socket) = self.open.get(&(port, address)).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(TcpListener::from(socket));
        self.open.insert((port, address), Arc::downgrade(&socket));
        Ok(socket)
    }
}

impl Bound {
    pub(super) fn copies(&self) -> io::Result<Vec<TcpListener>> {
        self.sockets.iter().map(|socket| socket.try_clone()).collect()
    }

    /// Returns the addresses that the system has given.
    pub(super) fn local_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok())
    }
}
