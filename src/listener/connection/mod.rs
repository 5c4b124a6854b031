//! One connection, from `accept` to the end of its socket.
//!
//! ```text
//! accept -> PROXY header -> TLS handshake -> HTTP/1.1, HTTP/2 -> (tunnel) -> closed
//!           |                            `-> a service of connections  --´
//!           |      a time limit each     |   |  one timer  |
//! ```
//!
//! The socket ([`ClientStream`]), the requests ([`Exchanges`]) and the task of the connection
//! ([`Serving`]) share one [`Activity`], a few atomics. The socket writes when it moved a byte, the
//! requests when they begin and end, and the task works out from these what is due next. So a
//! request costs a few atomic instructions, and a timer is touched about once per time limit.
//!
//! | question | file |
//! |---|---|
//! | in which order does a connection begin, and how does it end? | `task` |
//! | which version of HTTP is it? | `version` |
//! | what has happened, and what is due when? | `activity` |
//! | who closes it when a time limit is over, or when the listener drains? | `serving` |
//! | which bytes pass? | `client_stream`; those of requests and responses in HTTP/2: `frame_meter` |
//! | what does a request get, and when has it ended? | `exchange` |
//! | what does a request learn about its connection? | `info` |
//! | how does a service get the connection itself? | `raw` |
//! | where do the requests of HTTP/2 run? | `stream_tasks` |

mod activity;
mod client_stream;
mod exchange;
mod frame_meter;
mod info;
#[cfg(feature = "tcp")]
mod raw;
mod serving;
mod stream_tasks;
mod task;
mod version;

#[cfg(feature = "tcp")]
pub use self::raw::{ConnectionService, Connections};
pub(super) use self::{
    client_stream::{ClientStream, Io},
    task::{Connection, Protocol},
};
pub use self::{exchange::HttpService, info::ConnectionInfo};
