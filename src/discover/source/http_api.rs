use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use futures::{future::BoxFuture, stream::BoxStream};
use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower_service::Service;

use crate::{BoxError, escape::Escaped};

/// The most bytes that are read of an answer, so that a source that is broken costs no more memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The most bytes that are read of an answer that is only shown in an error.
const MAX_ERROR_BYTES: usize = 4096;

/// How a source sends its requests: an HTTP service whose type is forgotten.
#[derive(Clone)]
pub(super) struct Transport {
    send:
        Arc<dyn Fn(Request<String>) -> BoxFuture<'static, Result<Answer, BoxError>> + Send + Sync>,
}

impl Transport {
    /// hyper's client, for plain HTTP.
    pub(super) fn plain() -> Self {
        let client: Client<HttpConnector, String> =
            Client::builder(TokioExecutor::new()).build_http();
        Self::new(client)
    }

    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<String>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let service = Mutex::new(service);
        let send = move |request| -> BoxFuture<'static, Result<Answer, BoxError>> {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(as_it_comes))
            })
        };
        Self { send: Arc::new(send) }
    }

    pub(super) async fn send(&self, request: Request<String>) -> Result<Answer, BoxError> {
        (self.send)(request).await
    }
}

/// A response, its body as it comes.
pub(super) type Answer = Response<BoxStream<'static, Result<Bytes, BoxError>>>;

fn as_it_comes<B>(body: B) -> BoxStream<'static, Result<Bytes, BoxError>>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let body = stream::unfold(Box::pin(body), |mut body: Pin<Box<B>>| async move {
        let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await?;
        let data = frame.map_err(Into::into).map(|frame| match frame.into_data() {
            Ok(mut data) => data.copy_to_bytes(data.remaining()),
            Err(_trailers) => Bytes::new(),
        });
        Some((data, body))
    });
    body.boxed()
}

/// The whole body of an answer.
pub(super) async fn read(answer: Answer) -> Result<Vec<u8>, BoxError> {
    let (mut body, mut whole) = (answer.into_body(), Vec::new());
    while let Some(data) = body.next().await {
        let data = data?;
        if data.len() > MAX_ANSWER_BYTES - whole.len() {
            return Err(TooLong.into());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// The error that an answer of this status is, with the beginning of what it says.
pub(super) async fn unexpected(answer: Answer) -> BoxError {
    let (status, mut body, mut text) = (answer.status(), answer.into_body(), Vec::new());
    while let Some(Ok(data)) = body.next().await {
        let room = MAX_ERROR_BYTES - text.len();
        text.extend_from_slice(data.get(..room).unwrap_or(&data));
        // The rest may be long, or never come.
        if text.len() >= MAX_ERROR_BYTES {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text).trim().chars().take(200).collect();
    UnexpectedStatus { status, text }.into()
}

/// Checks an absolute URL, and takes a slash off its end.
pub(super) fn absolute(url: &str) -> Result<String, InvalidUrl> {
    let uri: Uri = url.parse().map_err(|_| InvalidUrl { url: url.to_owned() })?;
    if uri.scheme().is_none() || uri.authority().is_none() {
        return Err(InvalidUrl { url: url.to_owned() });
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// Escapes a text for a path segment or for the value of a query's parameter.
#[cfg(any(feature = "consul", feature = "kubernetes"))]
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write;

    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(byte.into());
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A URL that is none, or not absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl {
    url: String,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no absolute URL; one is like http://host:port", self.url)
    }
}

impl StdError for InvalidUrl {}

#[derive(Debug)]
struct UnexpectedStatus {
    status: StatusCode,
    text: String,
}

impl fmt::Display for UnexpectedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.text {
            "" => write!(f, "the answer is {}", self.status),
            text => write!(f, "the answer is {}: {}", self.status, Escaped(text)),
        }
    }
}

impl StdError for UnexpectedStatus {}

#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the answer is longer than {MAX_ANSWER_BYTES} bytes")
    }
}

impl StdError for TooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body without an end, in pieces of a mebibyte.
    fn endless(status: StatusCode) -> Answer {
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

    #[test]
    fn urls_are_absolute() {
        assert_eq!(absolute("http://a:1/").unwrap(), "http://a:1");
        for url in ["", "a:1", "/x", "http//a", "http://a b"] {
            assert!(absolute(url).is_err(), "{url}");
        }
    }
}
