//! The health checks of targets.

use std::{future::ready, net::SocketAddr, pin::Pin, time::Duration};

use tower_lb::{
    BoxError,
    health::{Check, HealthCheck, TcpCheck},
    udp::DatagramCheck,
};

/// How a target of UDP is checked. UDP has no connections, so only a protocol that is known can
/// tell whether a target serves.
#[derive(Clone, Debug)]
pub(crate) enum UdpHealth {
    /// By a TCP connection to the same port.
    Tcp,
    /// By a query to a DNS server.
    Dns(DatagramCheck),
    /// Not at all.
    None,
}

impl Check<SocketAddr> for UdpHealth {
    fn check(
        &self,
        target: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> {
        match self {
            Self::Tcp => TcpCheck.check(target),
            Self::Dns(query) => query.check(target),
            Self::None => Box::pin(ready(Ok(()))),
        }
    }
}

/// Returns the settings of a check, whose time limit is at most its interval.
pub(crate) fn every<C>(interval: Duration, check: C) -> HealthCheck<C> {
    HealthCheck::new(check).interval(interval).timeout(interval.min(Duration::from_secs(10)))
}
