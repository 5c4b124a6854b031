//! Checks what a source returns before it becomes endpoints.
//!
//! `address_filter` rejects addresses that must not be endpoints, `bounds` limits how much a source
//! may return, and `left_out` logs the endpoints that were rejected.

mod address_filter;
#[cfg(any(feature = "consul", feature = "document", feature = "kubernetes"))]
mod bounds;
#[cfg(any(
    feature = "cloudmap",
    feature = "consul",
    feature = "dns",
    feature = "document",
    feature = "kubernetes"
))]
mod left_out;

pub use self::address_filter::{AddressFilter, RejectedAddress};
#[cfg(any(feature = "consul", feature = "document", feature = "kubernetes"))]
pub(super) use self::bounds::*;
#[cfg(any(
    feature = "cloudmap",
    feature = "consul",
    feature = "dns",
    feature = "document",
    feature = "kubernetes"
))]
pub(super) use self::left_out::*;
