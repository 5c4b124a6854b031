//! HTTP: clients and servers of other makers, retries of bodies, sticky sessions, signatures.

#[path = "../../../examples/plots/retry_storm/simulation.rs"]
mod simulation;

mod client;
mod faults;
mod health_checks;
mod limit_until_body_end;
mod pool;
mod pool_tls;
mod proxy;
mod resilience;
mod retry_storm;
mod sigv4;
mod sticky;

/// Returns an address at which connections are refused, as long as the socket lives. The address of
/// a listener that was closed may soon be another test's.
fn refusing() -> (tokio::net::TcpSocket, std::net::SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
