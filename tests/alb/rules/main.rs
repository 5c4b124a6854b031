//! Tests of the rules on the wire and beside other proxies.

mod forward;
mod oracle;
mod replace;
mod server;
