//! UDP flows and exchanges over real sockets.

mod dns;
mod exchange;
mod flow_table;
mod flows;
mod peers;
mod quic;
