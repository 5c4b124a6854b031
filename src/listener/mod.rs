//! A server of HTTP/1.1 and HTTP/2 for any service: it binds, accepts, serves and drains.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//!
//! use http::{Request, Response};
//! use hyper::body::Incoming;
//! use tower::service_fn;
//! use tower_lb::listener::{Listener, Socket};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hello = service_fn(|_: Request<Incoming>| async {
//!     Ok::<_, Infallible>(Response::new("hello\n".to_owned()))
//! });
//! let listener = Listener::builder()
//!     .socket(Socket::tcp("127.0.0.1:0".parse()?))
//!     .max_connections_per_address(100)
//!     .bind()?;
//! println!("listening on {}", listener.local_addresses()[0]);
//!
//! # let stop = std::future::ready(());
//! # /*
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
//! # */
//! let drained = listener
//!     .serve(hello)
//!     .shutdown_on(stop)
//!     .drain_limit(Duration::from_secs(20))
//!     .await;
//! println!("{} finished, {} were cut off", drained.finished, drained.cut_off);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Listener`] has one or more [`Socket`]s: TCP, Unix, or inherited from the process before it.
//! Each can expect a PROXY header ([`ProxyProtocol`]) and TLS. [`Listener::serve`] is a future; it
//! owns all tasks of its connections, and is itself the graceful shutdown. The listener handles no
//! signal of the process.
//!
//! **What a request gets** in its extensions: [`ClientConnection`](crate::http::ClientConnection)
//! (not on a Unix socket without a PROXY header), [`ConnectionInfo`] with the [`ProxyHeader`], and
//! `TlsDetails` if the connection is encrypted.
//!
//! `Listener::serve_connections` (feature `tcp`) gives a service the connections themselves. Only
//! the first two limits below hold for them.
//!
//! **Every limit of time has a default**, and every connection of HTTP is always under one of them:
//!
//! | a client that | is closed after |
//! |---|---|
//! | sends no PROXY header, or part of one | [`ProxyProtocol::timeout`] |
//! | does not finish its TLS handshake | [`handshake_timeout`](ListenerBuilder::handshake_timeout) |
//! | sends nothing, or part of a head, or of the preface of HTTP/2 | [`head_timeout`](ListenerBuilder::head_timeout) |
//! | sends no further request | [`keep_alive`](ListenerBuilder::keep_alive) |
//! | stops within a body, or waits for a response without a byte | [`idle_timeout`](ListenerBuilder::idle_timeout) |
//! | reads nothing | [`write_timeout`](ListenerBuilder::write_timeout) |
//! | says nothing in its tunnel | [`tunnel_idle`](ListenerBuilder::tunnel_idle) |
//! | stays | [`max_age`](ListenerBuilder::max_age), [`max_requests`](ListenerBuilder::max_requests) |
//!
//! A client that moves a byte now and then within a body is served; limits of the rate are a matter
//! of the service. With HTTP/2, bytes are those of requests and responses (DATA and HEADERS), so
//! other frames do not keep a connection. All streams of a connection count together: one that
//! stands still is not noticed while others go on.
//!
//! **`accept` never spins.** Without file descriptors or memory it pauses, counts, logs once per
//! minute, and goes on.
//!
//! **Restart without a refused connection**: let a supervisor open the socket and pass it to each
//! process ([`Socket::inherited`]). Start the new process, then stop the old one. Connections that
//! meet the gap wait in the kernel's queue.
//!
//! | question | file |
//! |---|---|
//! | what does it listen on? | `socket`, `local_address`, `listen_error` |
//! | who is the client, if a load balancer is in front? | `proxy_protocol` |
//! | which limits are there? | `builder`, `limits`, `address_limit` |
//! | who accepts, and what if that fails? | `acceptor` |
//! | what happens on a connection? | `connection` |
//! | how is it encrypted? | `tls` |
//! | how does it stop? | `serve` |
//! | what do all of them share, and what do operators see? | `core`, `status` |

mod acceptor;
mod address_limit;
mod builder;
mod connection;
mod core;
mod limits;
mod listen_error;
#[allow(clippy::module_inception)]
mod listener;
mod local_address;
mod proxy_protocol;
mod serve;
mod socket;
mod status;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "tcp")]
pub use self::connection::{ConnectionService, Connections};
#[cfg(feature = "alb")]
pub(crate) use self::limits::DEFAULT_CONNECTIONS;
#[cfg(tower_lb_fuzz)]
pub use self::proxy_protocol::parse_proxy_header;
pub use self::{
    builder::ListenerBuilder,
    connection::{ConnectionInfo, HttpService},
    listen_error::ListenError,
    listener::{Listener, ListenerHandle},
    local_address::LocalAddress,
    proxy_protocol::{ProxyHeader, ProxyProtocol, ProxySsl},
    serve::{Drained, Serve},
    socket::Socket,
    status::{Closings, ListenerStatus, Refusals},
};
