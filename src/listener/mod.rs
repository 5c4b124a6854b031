//! A server of HTTP/1.1 and HTTP/2 for any service.

#[cfg(feature = "tls")]
pub mod tls;
