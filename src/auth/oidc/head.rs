use http::{HeaderMap, Method, Request, Uri, header::COOKIE, uri::PathAndQuery};

use super::{origin::PublicOrigin, original_target::original};

/// What a decision needs of a request that it does not hold.
pub(super) struct RequestHead {
    pub(super) origin: PublicOrigin,
    pub(super) method: Method,
    /// The target that the browser has sent.
    pub(super) uri: Uri,
    /// The `Cookie` fields.
    pub(super) cookies: HeaderMap,
}

impl RequestHead {
    pub(super) fn of<B>(request: &Request<B>, origin: PublicOrigin) -> Self {
        let cookies = request.headers().get_all(COOKIE).iter();
        Self {
            origin,
            method: request.method().clone(),
            uri: original(request).0.clone(),
            cookies: cookies.map(|value| (COOKIE, value.clone())).collect(),
        }
    }

    pub(super) fn path_and_query(&self) -> PathAndQuery {
        self.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
    }
}
