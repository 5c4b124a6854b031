//! TLS of a listener: certificates by name, security policies, client certificates, resumption.
//!
//! [`ServerTls`] does the handshakes. It consists of:
//!
//! | part | answers |
//! |---|---|
//! | [`Certificates`] | which certificate does a client get, and how are they replaced? |
//! | [`SecurityPolicy`] | which versions and cipher suites are offered? |
//! | [`ClientAuth`] | does the client present a certificate, and who verifies it? |
//! | [`Resumption`] | how does a client that returns skip the full handshake? |
//!
//! A handshake yields the stream and its [`TlsDetails`], which a listener inserts into the
//! extensions of each request. [`TlsFields`] tells the backend about them, in the header fields of
//! an Application Load Balancer, which a client cannot forge.
//!
//! ```
//! use tower_lb::listener::tls::{Certificate, Certificates, SecurityPolicy, ServerTls};
//!
//! # fn example() -> Result<(), tower_lb::ConfigError> {
//! // With the feature `ring` of rustls:
//! // rustls::crypto::ring::default_provider().install_default()
//! let certificates = Certificates::builder()
//!     .default_certificate(Certificate::files("tls/shop.pem", "tls/shop.key"))
//!     .certificate(Certificate::files("tls/wildcard.pem", "tls/wildcard.key"))
//!     .build()?;
//! let tls = ServerTls::builder(certificates.clone())
//!     .policy(SecurityPolicy::alb("ELBSecurityPolicy-TLS13-1-2-Res-2021-06")?)
//!     .build()?;
//! // Later, when the files have changed:
//! certificates.reload_files()?;
//! # let _ = tls;
//! # Ok(()) }
//! ```
//!
//! # Changes at runtime
//!
//! Each handshake reads the newest state once, so a change interrupts no connection.
//!
//! | change | by | sessions can be resumed |
//! |---|---|---|
//! | certificates | [`Certificates::replace`], [`reload_files`](Certificates::reload_files) | yes |
//! | policy, client certificates, ALPN | [`ServerTls::replace`] | with shared keys of tickets |
//!
//! A change that fails leaves everything as it was.
//!
//! # Limits
//!
//! A handshake has no time limit of its own; a listener sets one. TLS 1.0 and 1.1, CBC suites, RSA
//! key exchange, OCSP and early data (0-RTT) are not available.

mod builder;
mod certificates;
mod client_auth;
mod details;
mod fields;
mod input;
mod policy;
mod resumption;
mod server_tls;

pub use self::{
    builder::ServerTlsBuilder,
    certificates::{Certificate, CertificateInfo, Certificates, CertificatesBuilder, UnknownName},
    client_auth::{ClientAuth, TrustStore, TrustStoreBuilder},
    details::{ClientCertificate, TlsDetails},
    fields::{TlsField, TlsFields, TlsFieldsBuilder, TlsFieldsLayer},
    policy::SecurityPolicy,
    resumption::Resumption,
    server_tls::ServerTls,
};
