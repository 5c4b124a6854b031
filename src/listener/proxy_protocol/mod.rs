//! The PROXY protocol on incoming connections, versions 1 and 2: a load balancer in front names the
//! client's address before anything else. Source: `doc/proxy-protocol.txt` of HAProxy.
//!
//! | question | file |
//! |---|---|
//! | whose headers are believed, and for how long is one awaited? | `settings` |
//! | what do the bytes say? | `parse` |
//! | what does a request learn? | `header` |

mod header;
mod parse;
mod settings;

#[cfg(tower_lb_fuzz)]
pub use self::parse::parse_proxy_header;
pub use self::{
    header::{ProxyHeader, ProxySsl},
    settings::ProxyProtocol,
};
pub(super) use self::{parse::ParseError, settings::ReceiveError};
