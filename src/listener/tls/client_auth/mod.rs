//! Certificates of clients (mTLS).
//!
//! [`ClientAuth`] says what a listener asks of clients (`mode`). [`TrustStore`] has the authorities
//! and revocation lists that certificates are verified by (`trust_store`). `verifier` is the side
//! of rustls, and `expiry` ignores that a certificate has expired.

mod expiry;
mod mode;
mod trust_store;
mod verifier;

pub(super) use self::verifier::ClientVerifier;
pub use self::{
    mode::ClientAuth,
    trust_store::{TrustStore, TrustStoreBuilder},
};
