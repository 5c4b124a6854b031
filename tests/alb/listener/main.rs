//! The listener over real sockets, next to clients and load balancers that others have written.

mod child;
mod drain;
mod encrypted;
mod http2;
mod limits;
mod memory;
mod peers;
mod proxy_protocol;
mod served;
mod slow_clients;
mod sockets;
mod tls;
mod wire;
