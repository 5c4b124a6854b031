use http::{Extensions, Version, request::Parts};

/// The version of the client's connection, if it is HTTP/2 or later: an extension of the request
/// that a [`Proxy`](crate::http::Proxy) forwards as HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientVersion(Version);

impl ClientVersion {
    /// Returns the version of the client's connection. `version` is that of the request, which
    /// counts if no proxy has changed it.
    #[must_use]
    pub fn of(version: Version, extensions: &Extensions) -> Version {
        extensions.get::<Self>().map_or(version, |client| client.0)
    }

    /// Keeps the version before it is replaced. HTTP/1.1 needs no extension.
    pub(super) fn keep(head: &mut Parts) {
        if head.version > Version::HTTP_11 {
            head.extensions.insert(Self(head.version));
        }
    }
}
