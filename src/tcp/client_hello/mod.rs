//! Routing of TLS that is passed through: what a client says before anything is encrypted.
//!
//! [`ReadHello`] looks at the ClientHello, and [`ByServerName`] selects a service by its name. With
//! Encrypted Client Hello (RFC 9849) the name is the public one of the provider.
//!
//! | question | file |
//! |---|---|
//! | what do the bytes say? | `parse` |
//! | how long does a connection wait for them? | `read_hello` |
//! | which service gets the connection? | `by_server_name` |

mod by_server_name;
mod parse;
mod read_hello;

#[cfg(tower_lb_fuzz)]
pub use self::parse::parse_client_hello;
pub use self::{
    by_server_name::{ByServerName, ByServerNameBuilder},
    read_hello::{ReadHello, ReadHelloLayer},
};
