use std::{convert::Infallible, future::poll_fn, sync::Arc};

use bytes::{Buf, Bytes};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyDataStream;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower_service::Service;

use crate::{
    BoxError, ParseError,
    escape::Escaped,
    opaque::Opaque,
    sync::{Mutex, lock},
};

/// The largest response body that is read, in bytes.
const MAX_BODY_BYTES: usize = 64 << 20;
/// The byte-order mark of UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The largest part of an unexpected response that is read for the error message, in bytes.
const MAX_ERROR_BODY_BYTES: usize = 4096;
/// The largest part of an unexpected response that the error message shows, in characters.
const MAX_ERROR_TEXT_CHARS: usize = 200;

/// How a source is reached over HTTP: the URL, the headers of requests and the client.
///
/// `HttpPoll`, `Consul` and `Kubernetes` take one, or just a URL.
///
/// ```
/// use tower_lb::discover::HttpApi;
///
/// let api = HttpApi::new("http://127.0.0.1:8500")?
///     .header("x-consul-token".parse().unwrap(), "secret".parse().unwrap());
/// # Ok::<_, tower_lb::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HttpApi {
    url: String,
    /// May contain secrets.
    headers: Opaque<HeaderMap>,
    send: Opaque<Arc<SendRequest>>,
}

/// A client whose type is erased.
type SendRequest =
    dyn Fn(Request<String>) -> BoxFuture<'static, Result<ApiResponse, BoxError>> + Send + Sync;

/// A response whose body is a stream of its data.
pub(super) type ApiResponse = Response<BoxStream<'static, Result<Bytes, BoxError>>>;

impl HttpApi {
    /// Creates the access to a URL with hyper-util's client, which speaks plain HTTP only.
    ///
    /// # Errors
    ///
    /// [`ParseError`] if `url` is not an absolute URL.
    pub fn new(url: impl Into<String>) -> Result<Self, ParseError> {
        let url = url.into();
        let uri = url.parse::<Uri>().ok();
        if !uri.is_some_and(|uri| uri.scheme().is_some() && uri.authority().is_some()) {
            return Err(ParseError::new("URL", &url, "an absolute URL, such as http://host:port"));
        }
        let client: Client<HttpConnector, String> =
            Client::builder(TokioExecutor::new()).build_http();
        Ok(Self { url, headers: Opaque(HeaderMap::new()), send: Opaque(erase(client)) })
    }

    /// Sets the service that sends the requests, for example for TLS or authentication.
    #[must_use]
    pub fn client<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.send = Opaque(erase(service));
        self
    }

    /// Adds a header to the requests.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.0.append(name, value);
        self
    }

    /// Returns the URL as it was given.
    #[cfg(feature = "http-poll")]
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a GET request to `path`, which is appended to the URL. `header` replaces a header of
    /// the same name.
    pub(super) async fn get(
        &self,
        path: &str,
        header: Option<(HeaderName, HeaderValue)>,
    ) -> Result<ApiResponse, BoxError> {
        let base = if path.is_empty() { &*self.url } else { self.url.trim_end_matches('/') };
        let mut request = Request::get(format!("{base}{path}")).body(String::new())?;
        request.headers_mut().extend(self.headers.0.clone());
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value);
        }
        (self.send.0)(request).await
    }
}

impl TryFrom<String> for HttpApi {
    type Error = ParseError;

    fn try_from(url: String) -> Result<Self, ParseError> {
        Self::new(url)
    }
}

impl TryFrom<&str> for HttpApi {
    type Error = ParseError;

    fn try_from(url: &str) -> Result<Self, ParseError> {
        Self::new(url)
    }
}

/// An [`HttpApi`] is accepted wherever a URL is, and is always valid.
impl From<Infallible> for ParseError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

fn erase<S, B>(service: S) -> Arc<SendRequest>
where
    S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    // The service need not be `Sync`: the mutex makes it so, and each request uses a clone.
    let service = Mutex::new(service);
    Arc::new(move |request| {
        let mut service = lock(&service).clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            let response = service.call(request).await.map_err(Into::into)?;
            Ok(response.map(data_stream))
        })
    })
}

fn data_stream<B>(body: B) -> BoxStream<'static, Result<Bytes, BoxError>>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
    BodyDataStream::new(body).map_ok(bytes).map_err(Into::into).boxed()
}

/// Reads the whole body of a response, without a byte-order mark at its beginning: JSON forbids it,
/// and some servers send it nevertheless.
pub(super) async fn read(response: ApiResponse) -> Result<Vec<u8>, BoxError> {
    let (mut body, mut whole) = (response.into_body(), Vec::new());
    while let Some(data) = body.next().await {
        let data = data?;
        if data.len() > MAX_BODY_BYTES - whole.len() {
            return Err(format!("the answer is longer than {MAX_BODY_BYTES} bytes").into());
        }
        whole.extend_from_slice(&data);
    }
    if whole.starts_with(BYTE_ORDER_MARK) {
        whole.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(whole)
}

/// Returns the error for a response with an unexpected status, with the beginning of its body.
pub(super) async fn unexpected(response: ApiResponse) -> BoxError {
    let (status, mut body, mut text) = (response.status(), response.into_body(), Vec::new());
    while let Some(Ok(data)) = body.next().await {
        let room = MAX_ERROR_BODY_BYTES - text.len();
        text.extend_from_slice(data.get(..room).unwrap_or(&data));
        // The rest may be long, or may never arrive.
        if text.len() >= MAX_ERROR_BODY_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let text: String = text.trim().chars().take(MAX_ERROR_TEXT_CHARS).collect();
    let colon = if text.is_empty() { "" } else { ": " };
    format!("the answer is {status}{colon}{}", Escaped(text)).into()
}

/// Percent-encodes a text for a path segment or for the value of a query parameter.
#[cfg(any(feature = "consul", feature = "kubernetes"))]
pub(super) fn percent_encode(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::StatusCode;

    use super::*;

    /// A body without an end, in pieces of a mebibyte.
    fn endless(status: StatusCode) -> ApiResponse {
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        let mut answer = Response::new(stream::repeat_with(move || Ok(piece.clone())).boxed());
        *answer.status_mut() = status;
        answer
    }

    #[tokio::test]
    async fn an_endless_answer_is_an_error() {
        let error = read(endless(StatusCode::OK)).await.unwrap_err().to_string();
        assert_eq!(error, "the answer is longer than 67108864 bytes");
        let error = unexpected(endless(StatusCode::BAD_GATEWAY)).await.to_string();
        assert_eq!(error, format!("the answer is 502 Bad Gateway: {}", "x".repeat(200)));
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_ignored() {
        for (sent, expected) in [
            (&["\u{feff}[]"][..], "[]"),
            (&["\u{feff}"], ""),
            (&["[\u{feff}]"], "[\u{feff}]"),
            (&["\u{feff}\u{feff}"], "\u{feff}"),
            (&[], ""),
        ] {
            let pieces: Vec<_> = sent.iter().map(|text| Ok(Bytes::from(*text))).collect();
            let body = read(Response::new(stream::iter(pieces).boxed())).await.unwrap();
            assert_eq!(body, expected.as_bytes());
        }
    }

    #[test]
    fn urls_are_absolute() {
        assert_eq!(HttpApi::new("http://a:1/").unwrap().url, "http://a:1/");
        for url in ["", "a:1", "/x", "http//a", "http://a b"] {
            assert!(HttpApi::new(url).is_err(), "{url}");
        }
    }
}
