//! Requests in the form of the connection that they are sent on.
//!
//! A request is first [addressed](address) in the form of HTTP/1.1, once. Then it gets the form of
//! its connection, perhaps of another one if it comes back unsent.

use http::{
    HeaderMap, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;

use super::error::{ClientError, ClientErrorKind};
use crate::{
    BoxError,
    hop_by_hop::HopByHop,
    http::{HostHeader, Origin},
};

/// Where requests go, and the host that they name.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) origin: Origin,
    host_header: HostHeader,
    /// The authority of the origin.
    host: Option<HeaderValue>,
}

impl Target {
    pub(super) fn new(origin: Origin, host_header: HostHeader) -> Self {
        Self { host: origin.host(), origin, host_header }
    }
}

/// Sets the `Host` header and reduces the URI to the request target of HTTP/1.1.
pub(super) fn address<B>(request: &mut Request<B>, target: &Target) -> Result<(), ClientError> {
    let (headers, uri) = (request.headers(), request.uri());
    if let Some(host) = target.host_header.of(headers, uri, || target.host.clone()) {
        request.headers_mut().insert(HOST, host);
    }
    let uri = request.uri();
    if request.method() == Method::CONNECT {
        let Some(authority) = uri.authority().cloned() else {
            return Err(invalid("the target of CONNECT is not a host and a port"));
        };
        *request.uri_mut() = Uri::from(authority);
        return Ok(());
    }
    let is_asterisk = uri.path() == "*";
    if is_asterisk && request.method() != Method::OPTIONS {
        return Err(invalid("only OPTIONS has the target *"));
    }
    let path = uri.path_and_query();
    let joined = if is_asterisk { None } else { target.origin.join(path) };
    // Most requests come in origin form already.
    if joined.is_some() || uri.scheme().is_some() || uri.authority().is_some() {
        let path = joined.or_else(|| path.cloned());
        *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
    }
    Ok(())
}

fn invalid(reason: impl Into<BoxError>) -> ClientError {
    ClientError::new(ClientErrorKind::InvalidRequest, reason)
}

/// Gives an addressed request the form of HTTP/1.1.
pub(super) fn to_http1<B: Body>(request: &mut Request<B>) -> Result<(), ClientError> {
    // hyper drops the body of a request that has another version.
    *request.version_mut() = Version::HTTP_11;
    if request.method() != Method::CONNECT {
        // It has been in the form of HTTP/2, and came back unsent.
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str()).map_err(invalid)?;
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
            request.headers_mut().insert(HOST, host);
        }
        let body = request.body();
        let has_unknown_length = !body.is_end_stream() && body.size_hint().exact().is_none();
        let headers = request.headers_mut();
        let has_framing =
            headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        // Without it, hyper sends the body of some methods and drops that of others, such as GET.
        if has_unknown_length && !has_framing {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    let headers = request.headers_mut();
    // RFC 9110, 10.1.4: a sender of TE names it, so that intermediaries do not forward it.
    if headers.contains_key(TE) && !has_token(headers, &CONNECTION, "te") {
        headers.append(CONNECTION, HeaderValue::from_static("TE"));
    }
    Ok(())
}

/// Gives an addressed request the form of HTTP/2.
pub(super) fn to_http2<B>(request: &mut Request<B>, scheme: &Scheme) -> Result<(), ClientError> {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    let host = headers.remove(HOST);
    let accepts_trailers = has_token(headers, &TE, "trailers");
    HopByHop::of(headers).remove_from(headers);
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let is_tunnel = request.method() == Method::CONNECT
        && request.extensions().get::<hyper::ext::Protocol>().is_none();
    if is_tunnel || request.uri().authority().is_some() {
        return Ok(());
    }
    let host = host.ok_or_else(|| invalid("the request names no host"))?;
    let authority = Authority::try_from(host.as_bytes()).map_err(invalid)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(parts).map_err(invalid)?;
    Ok(())
}

/// Returns whether a list header has a token, without parameters and whatever its case.
pub(super) fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    let mut tokens = headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .map(|value| value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii());
    tokens.any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}
