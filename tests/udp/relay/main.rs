//! UDP flows and exchanges over real sockets.

mod counters;
mod dns;
mod dnsmasq;
mod exchange;
mod flow_table;
mod flows;
mod path_mtu;
mod peers;
mod quic;
mod settings;
mod turns;
