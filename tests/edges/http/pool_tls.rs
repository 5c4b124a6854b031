//! The pooled client over TLS.
