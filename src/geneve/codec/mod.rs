//! The GENEVE header (RFC 8926) and the options that AWS puts into it.
//!
//! - `header`: the header as it is on the wire, checked once.
//! - `tunnel_option`: one option of a header.
//! - `aws_options`: the three options of a Gateway Load Balancer.
//! - `decode`: from a datagram to a header and an inner packet.
//! - `decode_error`: why a datagram is not one.

mod aws_options;
mod decode;
mod decode_error;
mod header;
mod tunnel_option;

pub use self::{
    aws_options::AwsOptions, decode::decode, decode_error::DecodeError, header::Header,
    tunnel_option::TunnelOption,
};
