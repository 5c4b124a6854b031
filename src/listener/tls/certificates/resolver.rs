use std::{fmt, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::handle::Certificates;

/// Chooses a certificate for a handshake.
pub(in crate::listener::tls) struct Resolver(pub(in crate::listener::tls) Certificates);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let is_verifiable =
            |certified: &CertifiedKey| certified.key.choose_scheme(schemes).is_some();
        self.0.shared.set.load().find(hello.server_name(), is_verifiable).cloned()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
