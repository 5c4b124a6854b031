//! Header fields that tell the backend about the TLS of the client's connection, as an Application
//! Load Balancer writes them.
//!
//! [`TlsFieldsLayer`] wraps a service in [`TlsFields`] (`layer`, `service`). `names` has the names,
//! which can be changed, and recognises those that a client has forged. `certificate` makes the
//! values of a certificate, and `distinguished_name` writes its names (RFC 2253).

mod certificate;
mod distinguished_name;
mod layer;
mod names;
mod service;

pub(super) use self::certificate::CertificateFields;
pub use self::{
    layer::{TlsFieldsBuilder, TlsFieldsLayer},
    names::TlsField,
    service::TlsFields,
};
