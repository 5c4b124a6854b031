//! Routing by a server id that datagrams contain, as in the connection ids of QUIC.
//!
//! A QUIC connection survives a change of the client's address, because packets name it by a
//! connection id. A server that writes its own id into the connection ids that it issues lets a
//! load balancer find it again.
//!
//! | question | file |
//! |---|---|
//! | what is a server id? | `server_id` |
//! | where is it in a packet? | `quic_lb` |
//! | which endpoint has it? | `by_server_id` |
//!
//! Source: "QUIC-LB: Generating Routable QUIC Connection IDs" (draft-ietf-quic-load-balancers-21).
//! Where this differs: only the plaintext layout is read.

mod by_server_id;
mod quic_lb;
mod server_id;

pub use self::{
    by_server_id::ByServerId,
    quic_lb::QuicLb,
    server_id::{SERVER_ID_LABEL, ServerId},
};
