use std::{num::NonZeroUsize, sync::Arc};

use tokio::net::UdpSocket;
use tower_service::Service;

use super::Inspector;
use crate::{BoxError, geneve::Packet};

/// Configures an [`Inspector`]; [`Inspector::builder`] returns one.
#[derive(Clone, Debug)]
pub struct InspectorBuilder {
    pub(super) name: Arc<str>,
    pub(super) max_in_flight: NonZeroUsize,
    pub(super) reply_port: Option<u16>,
}

impl Default for InspectorBuilder {
    fn default() -> Self {
        const MAX_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
        Self { name: "inspector".into(), max_in_flight: MAX_IN_FLIGHT, reply_port: None }
    }
}

impl InspectorBuilder {
    setters! {
        /// Sets the name in the status and in metrics. Default `inspector`.
        pub fn name(name: impl Into<Arc<str>>) => name = name.into();
        /// Sets how many packets the service may hold at the same time. Default 1024. Meanwhile
        /// others wait in the socket's buffer, which drops what it has no room for.
        pub fn max_in_flight(packets: NonZeroUsize) => max_in_flight = packets;
        /// Sets the port to which packets are returned. Default: the source port of the packet,
        /// which a [`Gateway`](crate::geneve::Gateway) expects. A balancer that sends from another
        /// port than it listens on expects 6081.
        pub fn reply_port(port: u16) => reply_port = Some(port);
    }

    /// Builds an inspector that receives from `socket` and asks `service` about each packet.
    pub fn build<S>(self, socket: UdpSocket, service: S) -> Inspector<S, S::Future>
    where
        S: Service<Packet, Response = Option<Packet>, Error: Into<BoxError>>,
    {
        Inspector::new(self, socket, service)
    }
}
