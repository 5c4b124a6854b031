use http::{Extensions, StatusCode};

/// Returns whether the connection of a response carries another protocol from here on.
///
/// The body of such a response is empty, but what the request has begun lasts until the body is
/// dropped.
pub(super) fn switches_protocols(status: StatusCode, extensions: &Extensions) -> bool {
    // A success of CONNECT has no status of its own. Hyper marks it.
    #[cfg(any(feature = "http-client", feature = "proxy"))]
    if extensions.get::<hyper::upgrade::OnUpgrade>().is_some() {
        return true;
    }
    #[cfg(not(any(feature = "http-client", feature = "proxy")))]
    let _ = extensions;
    status == StatusCode::SWITCHING_PROTOCOLS
}
