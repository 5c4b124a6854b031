//! UDP: flows of datagrams and exchanges of one request and one response, through a balancer.
//!
//! There are two ways to relay datagrams, for two kinds of protocols:
//!
//! | | [`UdpRelay`] | [`UdpResponder`] |
//! |---|---|---|
//! | request of the balancer | a [`Flow`]: all datagrams from one client port | a [`Datagram`] |
//! | for | QUIC, games, voice, syslog, anything | DNS, NTP and others with one reply |
//! | picked | once for each flow | once for each datagram, and again for each retry |
//! | in flight | until the flow is idle | until the reply |
//! | endpoint | [`UdpTarget`], made by [`targets`] | [`Exchange`] |
//!
//! Both are futures, which the user's task drives, and both bound what clients can make them hold.
//!
//! ```no_run
//! use std::time::Duration;
//! use tokio::net::UdpSocket;
//! use tower_lb::{
//!     Balancer, discover,
//!     health::{HealthCheck, HealthExt},
//!     strategy::Maglev,
//!     udp::{self, DatagramCheck, Flow, UdpRelay, UntilFlowEnd},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let addresses = ["10.0.0.1:53".parse()?, "10.0.0.2:53".parse()?];
//! let checked = discover::addresses::<std::net::SocketAddr>(addresses)
//!     .health_checked(HealthCheck::new(DatagramCheck::dns("example.com")?))?;
//! let strategy = Maglev::new(|flow: &Flow| Some(flow.hash()));
//! let balancer =
//!     Balancer::builder().track(UntilFlowEnd).spawn(strategy, udp::targets(checked))?;
//!
//! let socket = UdpSocket::bind("192.0.2.1:53").await?;
//! let relay = UdpRelay::builder().idle_timeout(Duration::from_secs(30)).build(socket, balancer)?;
//! relay.serve(async { /* until this future is ready */ }).await?;
//! # Ok(()) }
//! ```
//!
//! | question | file |
//! |---|---|
//! | what is a flow, as a request? | `flow` |
//! | how does an endpoint take a flow? | `target`, `targets`, `socket` |
//! | when has a flow ended? | `until_flow_end` |
//! | how do datagrams get from clients to targets and back? | `relay` |
//! | how does one request get its reply? | `exchange`, `responder` |
//! | to which server does a QUIC packet belong? | `quic` |
//! | does an endpoint reply? | `check`, `dns` |
//! | what do both relays use? | `descriptors`, `ready`, `receive`, `status` |

mod check;
mod descriptors;
mod dns;
mod exchange;
mod flow;
mod quic;
mod ready;
mod receive;
mod relay;
mod responder;
mod socket;
mod status;
mod target;
mod targets;
mod until_flow_end;

#[cfg(tower_lb_fuzz)]
pub use self::dns::{dns_query, dns_response};
pub use self::{
    check::DatagramCheck,
    exchange::{Datagram, Exchange},
    flow::Flow,
    quic::{ByServerId, QuicLb, SERVER_ID_LABEL, ServerId},
    relay::{TargetLoss, UdpRelay, UdpRelayBuilder, UdpRelayHandle},
    responder::{UdpResponder, UdpResponderBuilder, UdpResponderHandle},
    socket::TargetLoop,
    status::{UdpDrops, UdpFlowEnds, UdpRelayStatus, UdpResponderStatus},
    target::{FlowSocket, UdpTarget},
    targets::{Targets, targets},
    until_flow_end::{OpenFlow, UntilFlowEnd},
};

// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/udp.md")]
struct Guide;
