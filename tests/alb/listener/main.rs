//! Tests.

mod tls;
