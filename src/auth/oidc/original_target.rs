use http::{Extensions, HeaderMap, Request, Uri, header::HOST, request::Parts};

/// What a request named before a rule rewrote it, as an extension: the address that the browser
/// sees.
#[derive(Clone, Debug)]
pub(crate) struct OriginalTarget {
    uri: Uri,
    /// The `Host` fields.
    hosts: HeaderMap,
}

#[cfg_attr(not(feature = "rules"), allow(dead_code, reason = "only rules rewrite requests"))]
impl OriginalTarget {
    /// Reads the head of a request that was not rewritten yet.
    pub(crate) fn of(head: &Parts) -> Self {
        let hosts = head.headers.get_all(HOST).iter();
        Self { uri: head.uri.clone(), hosts: hosts.map(|host| (HOST, host.clone())).collect() }
    }

    /// Adds it to the extensions of a rewritten request, unless another rule rewrote it before.
    pub(crate) fn keep(self, extensions: &mut Extensions) {
        extensions.get_or_insert(self);
    }
}

/// Returns the target of a request, and fields of which `Host` is that of the request, as they were
/// before a rule rewrote them.
pub(super) fn original<B>(request: &Request<B>) -> (&Uri, &HeaderMap) {
    match request.extensions().get::<OriginalTarget>() {
        Some(original) => (&original.uri, &original.hosts),
        None => (request.uri(), request.headers()),
    }
}
