use std::{io, net::SocketAddr, time::Duration};

use hickory_server::Server;
use tokio::net::{TcpListener, UdpSocket};

use super::{builder::DnsServerBuilder, responder::Responder};
use crate::BoxError;

/// The time in which a client on TCP has to send its next query.
const TCP_IDLE: Duration = Duration::from_secs(5);
/// How many responses a TCP connection may have in its buffer.
const TCP_RESPONSES: usize = 32;
/// How many free ports are tried until one is free on UDP and TCP.
const MAX_PORTS_TRIED: usize = 16;

/// An authoritative DNS server for the name of a load balancer.
///
/// It answers queries for addresses (A, AAAA) of its name and of its zones, and for the SOA of its
/// name. Other types of these names have no records, other names below have none (NXDOMAIN), and
/// all other queries are refused.
#[derive(Debug)]
pub struct DnsServer {
    responder: Responder,
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl DnsServer {
    /// Configures a server for `name`, such as `shop.example.com`.
    pub fn builder(name: impl Into<String>) -> DnsServerBuilder {
        DnsServerBuilder::new(name.into())
    }

    pub(super) async fn bind(responder: Responder, address: SocketAddr) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let udp = UdpSocket::bind(address).await?;
            let bound = udp.local_addr()?;
            match TcpListener::bind(bound).await {
                Ok(tcp) => return Ok(Self { responder, udp, tcp, address: bound }),
                // A port that is free on UDP may be taken on TCP.
                Err(_) if address.port() == 0 && tries < MAX_PORTS_TRIED => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the address of both sockets.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers queries until `stop` is ready. Hickory's server runs in tasks of the runtime, which
    /// end with this future.
    ///
    /// # Errors
    ///
    /// If a socket fails.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), BoxError> {
        let mut server = Server::new(self.responder);
        server.register_socket(self.udp);
        server.register_listener(self.tcp, TCP_IDLE, TCP_RESPONSES);
        let stopped = tokio::select! {
            result = server.block_until_done() => return result.map_err(Into::into),
            () = stop => server.shutdown_gracefully().await,
        };
        stopped.map_err(Into::into)
    }
}
