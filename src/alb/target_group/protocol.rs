use std::{error::Error as StdError, fmt};

use http::{HeaderMap, Method, Request, Version, header::CONTENT_TYPE};

use crate::http::ClientVersion;

/// How connections to targets are secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Not at all. The default.
    #[default]
    Http,
    /// By TLS.
    Https,
}

/// The version of HTTP that the targets of a group speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// HTTP/1.1. Serves every request but those of gRPC. The default.
    #[default]
    Http1,
    /// HTTP/2. Serves requests of HTTP/2.
    Http2,
    /// gRPC. Serves `POST` requests of HTTP/2, gRPC or not.
    Grpc,
}

impl ProtocolVersion {
    /// Returns the name in the ELBv2 API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP1",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
        }
    }

    /// Returns whether a target group of this version serves a request: the ALB's table, by which
    /// it answers other requests with status 464.
    ///
    /// | the client sends | `HTTP1` | `HTTP2` | `GRPC` |
    /// |---|---|---|---|
    /// | HTTP/1.1 | yes | no | no |
    /// | HTTP/2 | yes | yes | `POST` |
    /// | gRPC | no | `POST` | `POST` |
    ///
    /// `version` is that of the client's connection.
    #[must_use]
    pub fn serves(self, version: Version, method: &Method, headers: &HeaderMap) -> bool {
        let is_http2 = version == Version::HTTP_2;
        let is_post = method == Method::POST;
        match self {
            Self::Http1 => !(is_http2 && is_grpc(headers)),
            Self::Http2 => is_http2 && (is_post || !is_grpc(headers)),
            Self::Grpc => is_http2 && is_post,
        }
    }

    pub(super) fn check<B>(self, request: &Request<B>) -> Result<(), IncompatibleVersion> {
        let version = ClientVersion::of(request.version(), request.extensions());
        if self.serves(version, request.method(), request.headers()) {
            return Ok(());
        }
        Err(IncompatibleVersion::new(self))
    }
}

/// Returns whether it is a request of gRPC. That of gRPC-Web is not.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The error of a request that the group's protocol version does not serve: status 464.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncompatibleVersion {
    group: ProtocolVersion,
}

impl IncompatibleVersion {
    pub(in crate::alb) fn new(group: ProtocolVersion) -> Self {
        Self { group }
    }
}

impl fmt::Display for IncompatibleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.group.as_str();
        write!(f, "the protocol version {version} of the target group does not serve the request")
    }
}

impl StdError for IncompatibleVersion {}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_table_of_versions() {
        use ProtocolVersion::{Grpc, Http1, Http2};
        let plain = HeaderMap::new();
        let grpc = |value| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
        let (http1, http2) = (Version::HTTP_11, Version::HTTP_2);
        let (get, post) = (Method::GET, Method::POST);
        for (version, method, headers, served) in [
            (http1, &get, &plain, [true, false, false]),
            (http1, &post, &plain, [true, false, false]),
            (http2, &get, &plain, [true, true, false]),
            (http2, &post, &plain, [true, true, true]),
            (http2, &post, &grpc("application/grpc"), [false, true, true]),
            (http2, &post, &grpc("application/grpc+proto"), [false, true, true]),
            (http2, &get, &grpc("application/grpc"), [false, false, false]),
            (http2, &post, &grpc("application/grpc-web"), [true, true, true]),
        ] {
            let found = [Http1, Http2, Grpc].map(|group| group.serves(version, method, headers));
            assert_eq!(found, served, "{version:?} {method} {headers:?}");
        }
    }
}
