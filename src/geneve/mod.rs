//! A Gateway Load Balancer: every packet of a network goes through one of several appliances, such
//! as firewalls, in GENEVE (RFC 8926) over UDP.
//!
//! ```text
//!                       Gateway                               Inspector
//!  network -> PacketEnd -> flows -> Balancer -> Appliance -- UDP 6081 -> your Service
//!  network <- PacketEnd <------ cookie, appliance <--------- UDP 6081 -- Some(packet)
//! ```
//!
//! A [`Gateway`] is the balancer's side. A flow of packets is one request to a
//! [`Balancer`](crate::Balancer), in flight until the flow ends, so that all strategies, sources of
//! endpoints and health checks apply. An [`Inspector`] is an appliance: it asks a
//! `Service<Packet>` about each packet. Both speak the format of AWS's load balancer.
//!
//! ```
//! use std::{convert::Infallible, net::SocketAddr};
//! use tokio::net::UdpSocket;
//! use tower::service_fn;
//! use tower_lb::{
//!     Balancer, discover,
//!     geneve::{self, ApplianceTracker, Gateway, Inspector, NewFlow, Packet},
//!     strategy::Maglev,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An appliance that lets everything pass but telnet.
//! let no_telnet = service_fn(|packet: Packet| async move {
//!     let is_telnet = packet.destination_port() == Some(23);
//!     Ok::<_, Infallible>((!is_telnet).then_some(packet))
//! });
//! let socket = UdpSocket::bind("127.0.0.1:0").await?;
//! let appliance: SocketAddr = socket.local_addr()?;
//! tokio::spawn(Inspector::builder().build(socket, no_telnet));
//!
//! // The gateway between a network, here in memory, and the appliances.
//! let endpoints = geneve::appliances(discover::addresses([appliance]));
//! let balancer = Balancer::builder()
//!     .track(ApplianceTracker)
//!     .spawn(Maglev::new(NewFlow::hash), endpoints)?;
//! let (end, mut network) = geneve::memory_ends(64);
//! let socket = UdpSocket::bind("127.0.0.1:0").await?;
//! let gateway = Gateway::builder().build(end, socket, balancer)?;
//! let monitor = gateway.monitor();
//! tokio::spawn(gateway);
//! # tokio::task::yield_now().await;
//!
//! let ping = etherparse::PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 9, 9], 64)
//!     .icmpv4_echo_request(1, 1);
//! let mut bytes = Vec::new();
//! ping.write(&mut bytes, b"hello")?;
//! network.send(bytes.clone().into());
//! assert_eq!(network.recv().await.as_deref(), Some(&bytes[..]));
//! assert_eq!(monitor.status().packets_passed, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! - `gateway`: the balancer's side: flows, timeouts, failover, resets, counters.
//! - `appliances`: endpoints of its balancer.
//! - `inspector`: the appliance's side.
//! - `ends`: where packets enter and leave the gateway.
//! - `codec`: headers and options.
//! - `packet`: inner packets.
//!
//! [gateway-load-balancer.md](https://github.com/tower-lb/tower-lb/blob/main/docs/gateway-load-balancer.md)
//! compares it with AWS's, and tells what happens with fragments, long packets and errors.

mod appliances;
mod codec;
mod datagrams;
mod ends;
mod gateway;
mod inspector;
mod packet;

#[cfg(all(feature = "geneve-tun", target_os = "linux"))]
pub use self::ends::TunEnd;
#[cfg(tower_lb_fuzz)]
pub use self::packet::reset_of;
pub use self::{
    appliances::{Appliance, ApplianceTracker, Appliances, Assigned, NewFlow, appliances},
    codec::{AwsOptions, DecodeError, Header, TunnelOption, decode},
    ends::{MemoryEnd, PacketEnd, Written, memory_ends},
    gateway::{
        ApplianceFailover, Gateway, GatewayBuilder, GatewayDrops, GatewayMonitor, GatewayStatus,
        Stickiness,
    },
    inspector::{Inspector, InspectorBuilder, InspectorDrops, InspectorMonitor, InspectorStatus},
    packet::{Packet, PacketError},
};

/// The UDP port of GENEVE, to which packets are sent.
pub const PORT: u16 = 6081;
