//! TCP connections as requests: what a network load balancer does, as services.
//!
//! A [`Connection`] is the request, and a [`Relay`] the service of a target. So a
//! [`Balancer`](crate::Balancer) of relays sends each connection to one target, with every
//! strategy, source of endpoints and health check of this crate.
//!
//! ```text
//! listener ─► PROXY ─► TLS ─► Connection ─► (ReadHello, ByServerName)
//!                                                      │
//!               Relay ◄─ Balancer ◄─ (Retry) ◄─────────┘
//!                 │
//!   client ◄══ Session: bytes in both directions ══► target
//! ```
//!
//! A connection has two phases. **Connecting** is the response future of a relay. It can fail, and
//! be retried with another target: no byte of the client was sent, and its stream is still in the
//! [`Connection`]. **Relaying** is the [`Session`], the response. The listener awaits it, and for
//! the balancer the connection is in flight until it ends.
//!
#![cfg_attr(feature = "listener", doc = "```")]
#![cfg_attr(not(feature = "listener"), doc = "```ignore")]
//! use std::time::Duration;
//! use tower::Layer;
//! use tower_lb::{
//!     balance::Builder,
//!     discover::{self, DiscoverExt},
//!     health::{Draining, HealthCheck, HealthExt},
//!     listener::{Listener, Socket},
//!     retry::{RetryFailures, RetryLayer},
//!     strategy::Maglev,
//!     tcp::{Connection, RelayCheck, Relays, Termination, TerminationExt},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_lb::BoxError> {
//! let relays = Relays::builder().build()?;
//! let targets = discover::addresses(["10.0.0.1:5432".parse()?, "10.0.0.2:5432".parse()?])
//!     .connect(relays.connector())
//!     .health_checked(HealthCheck::new(RelayCheck))?
//!     .drained(Draining::within(Duration::from_secs(300)))?
//!     .terminating(Termination::new());
//! // A client without a target is closed after this time.
//! let balancer = Builder::tcp()
//!     .fail_fast(Duration::from_secs(5))
//!     .spawn(Maglev::new(Connection::flow_key), targets)?;
//! let retry = RetryLayer::builder(RetryFailures::default()).attempts(3).build()?;
//!
//! let listener = Listener::builder().socket(Socket::tcp("127.0.0.1:0".parse()?)).bind()?;
//! # let stop = std::future::ready(());
//! # /*
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! # */
//! listener.serve_connections(retry.layer(balancer)).shutdown_on(stop).await;
//! println!("{}", relays.status());
//! # Ok(())
//! # }
//! ```
//!
//! **What ends a session**:
//!
//! | event | the other side sees |
//! |---|---|
//! | one side closes its direction | the same, and goes on with its own direction |
//! | both sides have closed | |
//! | one side resets, or fails | a reset; bytes that the kernel has not delivered yet are lost |
//! | no byte moves for [`idle_timeout`](RelaysBuilder::idle_timeout) | a reset, on both sides |
//! | [`Termination`] | a reset, on both sides |
//! | the listener's time for draining is over | an end |
//!
//! A client of TLS that closes without the end of TLS counts as one that closes; a target that does
//! so has failed, because its last bytes may be missing.
//!
//! **Memory.** A session reads into a buffer on the stack. It keeps up to 64 KiB for each direction
//! while the receiver takes nothing, and none otherwise.
//!
//! | question | file |
//! |---|---|
//! | what is a request, and how do retries share its stream? | `connection`, `stream` |
//! | what do relays share, and which limits are there? | `relays`, `relay` |
//! | how is a target reached? | `connect`, `target_tls` |
//! | what does a target learn about the client? | `send_proxy`, `client_tls` |
//! | how are bytes copied, and how does a connection end? | `session`, `copy` |
//! | what does an attempt say about the target? | `until_closed` |
//! | what happens to the connections of a target that leaves? | `termination` |
//! | how are targets checked? | `relay_check`, `handshake_check` |
//! | how is TLS routed that is passed through? | `client_hello` |
//! | what do operators see? | `status` |

mod client_hello;
mod client_tls;
mod connect;
mod connection;
mod copy;
#[cfg(feature = "tls")]
mod handshake_check;
mod relay;
mod relay_check;
mod relays;
mod send_proxy;
mod session;
mod status;
mod stream;
#[cfg(feature = "tls")]
mod target_tls;
mod termination;
mod until_closed;

#[cfg(tower_lb_fuzz)]
pub use self::client_hello::parse_client_hello;
pub use self::{
    client_hello::{ByServerName, ByServerNameBuilder, ReadHello, ReadHelloLayer},
    client_tls::{ClientIdentity, ClientTls},
    connection::Connection,
    relay::Relay,
    relay_check::RelayCheck,
    relays::{Relays, RelaysBuilder},
    send_proxy::SendProxy,
    session::{Ended, Session},
    status::{ConnectFailures, Endings, RelayStatus},
    stream::Stream,
    termination::{Terminating, Termination, TerminationExt},
    until_closed::{TcpBalancer, UntilClosed},
};
#[cfg(feature = "tls")]
pub use self::{handshake_check::HandshakeCheck, target_tls::TargetTls};
pub use crate::error::{RelayError, RelayErrorKind};
