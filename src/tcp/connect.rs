//! The connect phase of a relay: all that can fail while no byte of the client was sent.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{
    Connection, SendProxy, Session, relay::TargetState, status::ConnectFailure,
    stream::TargetStream,
};
use crate::{
    BoxError,
    error::{RelayError, RelayErrorKind as Kind, chain, is_local_lack},
    loopback::is_loop,
    outcome::{Bound, Elapsed},
};

/// Connects to the target, and then takes the client's stream.
pub(super) async fn connect(
    state: Arc<TargetState>,
    connection: Connection,
) -> Result<Session, RelayError> {
    let connected = open(&state, &connection).await;
    connected.inspect_err(|error| state.shared.counters.failed.count(failure_of(error)))
}

async fn open(state: &Arc<TargetState>, connection: &Connection) -> Result<Session, RelayError> {
    let shared = &state.shared;
    if connection.local().is_some_and(|local| is_loop(state.address, local, None)) {
        return Err(RelayError::new(Kind::Loop, "the client has connected to the same address"));
    }
    // Before the connection, so that it is ended with the others of the target.
    let terminations = state.terminations();
    let limit = shared.limits.connect;
    let stream = match timeout(limit, reach(state, connection)).await {
        Ok(reached) => reached?,
        Err(_) => {
            return Err(RelayError::new(Kind::Connect, Elapsed::new(Bound::Connect, limit)));
        }
    };
    let Some(client) = connection.take() else {
        return Err(RelayError::new(Kind::NoClient, "another attempt has taken it"));
    };
    Ok(Session::new(client, stream, terminations, Arc::clone(state)))
}

/// Does what is limited by the connect timeout.
async fn reach(state: &TargetState, connection: &Connection) -> Result<TargetStream, RelayError> {
    let shared = &state.shared;
    let mut stream = dial(state.address).await.map_err(unconnected)?;
    if let Some(proxy) = &shared.proxy {
        let header = proxy.header(connection);
        let sent = stream.write_all(&header).await;
        sent.map_err(|error| failed(Kind::ProxyHeader, error))?;
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &shared.tls {
        // Boxed, so that the memory of the handshake is free after it.
        let shaken = Box::pin(tls.connect(stream, state.address, connection.server_name())).await;
        let stream = shaken.map_err(|error| failed(Kind::Tls, error))?;
        return Ok(TargetStream::Tls(Box::new(stream)));
    }
    Ok(TargetStream::Tcp(stream))
}

/// Opens a TCP connection to the target.
pub(super) async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    // A port of the range from which ports of connections are taken, on which no process listens,
    // can be connected to itself.
    if stream.local_addr()? == target {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the header of a connection that is no client's, as that of a health check.
pub(super) async fn send_local_header(
    stream: &mut TcpStream,
    proxy: Option<&SendProxy>,
) -> io::Result<()> {
    match proxy {
        Some(proxy) => stream.write_all(&proxy.local_header()).await,
        None => Ok(()),
    }
}

/// A local lack must not eject the target.
fn unconnected(error: io::Error) -> RelayError {
    failed(if is_local_lack(&error) { Kind::Local } else { Kind::Connect }, error)
}

fn failed(kind: Kind, error: impl Into<BoxError>) -> RelayError {
    RelayError::new(kind, error)
}

fn failure_of(error: &RelayError) -> ConnectFailure {
    match error.kind() {
        Kind::Local => return ConnectFailure::NoResources,
        Kind::ProxyHeader => return ConnectFailure::ProxyHeader,
        Kind::Tls => return ConnectFailure::Tls,
        Kind::Loop => return ConnectFailure::TargetIsSelf,
        Kind::NoClient => return ConnectFailure::NoClient,
        Kind::UnknownName => return ConnectFailure::Other,
        Kind::Connect => {}
    }
    for cause in chain(error) {
        if cause.is::<Elapsed>() {
            return ConnectFailure::Timeout;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
                io::ErrorKind::TimedOut => ConnectFailure::Timeout,
                io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => {
                    ConnectFailure::NoLocalPort
                }
                _ => ConnectFailure::Other,
            };
        }
    }
    ConnectFailure::Other
}
