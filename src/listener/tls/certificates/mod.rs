//! The certificates of a listener.
//!
//! A [`Certificate`] says where a certificate, its key and its names come from (`certificate`). It
//! is read and checked (`loaded`), ranked among others of its names (`rank`), and found by the name
//! that a client asks for (`server_name`, `name_map`, `set`). [`Certificates`] is the handle that
//! replaces the set while it serves (`handle`, `builder`), also when files change (`watch`).
//! `resolver` is the side of rustls.

mod builder;
mod certificate;
mod handle;
mod loaded;
mod name_map;
mod rank;
mod resolver;
mod server_name;
mod set;
mod watch;

pub(super) use self::resolver::Resolver;
pub use self::{
    builder::CertificatesBuilder, certificate::Certificate, handle::Certificates,
    loaded::CertificateInfo, set::UnknownName,
};
