use std::{fmt, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, TE},
};
use http_body::Body;
use tower_service::Service;

use super::{exchange::Exchange, unexpected_response::UnexpectedResponse};
use crate::{BoxError, health::Check};

/// Passes if the endpoint responds `SERVING` by the gRPC health checking protocol, v1.
///
/// The request goes through the endpoint's own service, which must use HTTP/2. `B` is the type of
/// request body that the service takes: [`server`](Self::server) and [`service`](Self::service)
/// make one from [`Bytes`], as for the [`ReplayBody`](crate::http::ReplayBody) of retries; for
/// another, such as tonic's, use [`with_body`](Self::with_body).
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
/// use tower_lb::health::{GrpcCheck, HealthCheck};
///
/// // With tonic: `|message| tonic::body::Body::new(Full::new(message))`.
/// let body = |message| Full::<Bytes>::new(message).boxed_unsync();
/// let check: HealthCheck<GrpcCheck<UnsyncBoxBody<_, _>>> =
///     HealthCheck::new(GrpcCheck::with_body("shop.v1.Cart", body));
/// ```
pub struct GrpcCheck<B> {
    request: Bytes,
    body: Arc<dyn Fn(Bytes) -> B + Send + Sync>,
}

pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
pub(super) const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

impl<B: From<Bytes> + 'static> GrpcCheck<B> {
    /// Checks the server as a whole.
    #[must_use]
    pub fn server() -> Self {
        Self::service("")
    }

    /// Checks a service by its full name, such as `shop.v1.Cart`.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::with_body(name, B::from)
    }
}

impl<B> GrpcCheck<B> {
    /// Checks a service by its full name, or the server as a whole by an empty name. `body` makes a
    /// request body of the message.
    pub fn with_body(name: &str, body: impl Fn(Bytes) -> B + Send + Sync + 'static) -> Self {
        Self { request: framed(&health_check_request(name)), body: Arc::new(body) }
    }
}

/// Encodes the protobuf message `HealthCheckRequest { string service = 1; }`.
fn health_check_request(service: &str) -> BytesMut {
    let mut message = BytesMut::new();
    // The default value of a field is not sent.
    if !service.is_empty() {
        // Field 1, wire type 2: length-delimited.
        message.put_u8(0x0A);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    message
}

/// Prefixes a message with the compression flag (0, not compressed) and its length, as gRPC does.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint(from: &mut impl Buf) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Returns the field `status` of a frame with a
/// `HealthCheckResponse { ServingStatus status = 1; }`, or `None` if the frame is invalid.
fn serving_status(mut frame: &[u8]) -> Option<u64> {
    let is_plain = frame.try_get_u8().ok()? == 0;
    let len = frame.try_get_u32().ok()? as usize;
    let mut message = frame.get(..len).filter(|_| is_plain)?;
    // A field that is not sent has the value 0, `UNKNOWN`.
    let mut status = 0;
    while message.has_remaining() {
        let tag = varint(&mut message)?;
        // The wire type tells how many bytes to skip.
        let skip = match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skip..)?;
    }
    Some(status)
}

fn check_response(exchange: &Exchange) -> Result<(), String> {
    if exchange.head.status != StatusCode::OK {
        return Err(format!("response status {}", exchange.head.status));
    }
    // A response without a message has its status in the headers ("trailers-only").
    let in_trailers = exchange.trailers.as_ref().and_then(grpc_status);
    match in_trailers.or_else(|| grpc_status(&exchange.head.headers)) {
        Some(0) => {}
        Some(status) => return Err(format!("grpc-status {status}")),
        None => return Err("no grpc-status".to_owned()),
    }
    match serving_status(&exchange.body) {
        Some(1) => Ok(()),
        Some(0) => Err("serving status UNKNOWN".to_owned()),
        Some(2) => Err("serving status NOT_SERVING".to_owned()),
        Some(3) => Err("serving status SERVICE_UNKNOWN".to_owned()),
        Some(status) => Err(format!("unknown serving status {status}")),
        None => Err("the response is not a HealthCheckResponse".to_owned()),
    }
}

pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl<S, B, R> Check<S> for GrpcCheck<B>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
    B: Send + 'static,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let mut request = Request::new((self.body)(self.request.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/grpc.health.v1.Health/Check");
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().insert(CONTENT_TYPE, GRPC);
        request.headers_mut().insert(TE, TRAILERS);
        Box::pin(async move {
            let exchange = Exchange::send(service, request).await?;
            check_response(&exchange).map_err(|what| UnexpectedResponse::new(what).into())
        })
    }
}

impl<B> Clone for GrpcCheck<B> {
    fn clone(&self) -> Self {
        Self { request: self.request.clone(), body: Arc::clone(&self.body) }
    }
}

impl<B> fmt::Debug for GrpcCheck<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcCheck").field("request", &self.request).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_request_is_a_framed_protobuf_message() {
        assert_eq!(*framed(&health_check_request("")), [0, 0, 0, 0, 0]);
        assert_eq!(*framed(&health_check_request("a.B")), *b"\0\0\0\0\x05\x0A\x03a.B");
        let long = health_check_request(&"x".repeat(300));
        assert_eq!(long[..3], [0x0A, 0xAC, 0x02]);
    }

    #[test]
    fn the_status_is_found_between_unknown_fields() {
        let status = |message: &[u8]| serving_status(&framed(message));
        assert_eq!(status(&[]), Some(0));
        assert_eq!(status(&[0x08, 1]), Some(1));
        assert_eq!(status(&[0x12, 2, 9, 9, 0x08, 2, 0x1D, 0, 0, 0, 0]), Some(2));
        for broken in [&[0x08][..], &[0x12, 200], &[0x0B], &[0x08, 0x80], &[0x11, 0]] {
            assert_eq!(status(broken), None, "{broken:?}");
        }
        assert_eq!(serving_status(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(serving_status(&[0, 0, 0, 0, 9, 8, 1]), None, "cut off");
    }

    proptest! {
        #[test]
        fn any_response_is_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            serving_status(&bytes);
            serving_status(&framed(&bytes));
        }
    }
}
