//! One DNS name for a load balancer of several zones: answers with the addresses of the zones that
//! can serve.
//!
//! A client that resolves the name reaches a zone with healthy targets, and leaves a failed zone
//! within the records' time to live, without a change on its side.
//!
//! ```no_run
//! use tower_lb::dns_server::{ZoneAffinity, DnsServer};
//!
//! # async fn example(healthy: impl Fn(&str) -> bool + Send + Sync + 'static)
//! # -> Result<(), tower_lb::BoxError> {
//! let server = DnsServer::builder("shop.example.com")
//!     .zone("a", ["10.0.1.10".parse()?])
//!     .zone("b", ["10.0.2.10".parse()?])
//!     // Clients of 10.0.1.0/24 are sent to zone a while it is healthy.
//!     .clients("10.0.1.0/24".parse()?, "a")
//!     .affinity(ZoneAffinity::Full)
//!     .healthy(healthy)
//!     .build()?
//!     .bind("127.0.0.1:5300".parse()?)
//!     .await?;
//! server.serve(async { /* until this future is ready */ }).await?;
//! # Ok(()) }
//! ```
//!
//! | question | file |
//! |---|---|
//! | which zones does an answer name? | `zones` |
//! | how does the answer look? | `responder` |
//! | where does the server listen? | `server` |
//!
//! Source: the DNS failover of Application Load Balancers, and the client routing policies of
//! Network Load Balancers. Where this differs: a client's zone is known from its network, because
//! the server does not see in which zone a virtual machine runs.

mod builder;
mod responder;
mod server;
mod zones;

pub use self::{
    builder::{DnsConfig, DnsServerBuilder},
    server::DnsServer,
    zones::ZoneAffinity,
};
