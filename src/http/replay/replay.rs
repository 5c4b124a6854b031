use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, header, request::Parts};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    http::ReplayBody,
    retry::{RetrySafety, RetryableRequest},
};

/// Makes HTTP requests repeatable, for the [retries](crate::retry) below
/// it: decides whether a request may be sent again, and keeps its body for that.
///
/// | request | safety |
/// |---|---|
/// | with a [`RetrySafety`] in its extensions | that one: the caller's word |
/// | `CONNECT`, or with `Upgrade` | [`Never`](RetrySafety::Never) |
/// | of an idempotent method (`GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT`, `DELETE`), or with an `Idempotency-Key` | [`Idempotent`](RetrySafety::Idempotent) |
/// | any other, gRPC's among them | [`IfUnsent`](RetrySafety::IfUnsent) |
///
/// A body that is longer than the cap of what is kept makes it [`IfUnsent`](RetrySafety::IfUnsent). A
/// request that may never be sent again, or has no body, costs nothing here; for any other, the body
/// is put on the heap.
#[derive(Clone, Debug)]
pub struct Replay<S> {
    inner: S,
    layer: ReplayLayer,
}

/// Wraps services into [`Replay`].
#[derive(Clone)]
pub struct ReplayLayer {
    cap: usize,
    retry_safety: Option<Arc<dyn Fn(&Parts) -> Option<RetrySafety> + Send + Sync>>,
}

impl ReplayLayer {
    /// Keeps up to 64 KiB of a body and its trailers, and decides by the table of [`Replay`].
    #[must_use]
    pub fn new() -> Self {
        Self { cap: 64 << 10, retry_safety: None }
    }

    /// How many bytes of a body are kept, trailers included; [`ReplayBody`] says what counts. The
    /// memory held for a request is at most this, 1 % more, and 8 KiB. Default 64 KiB.
    #[must_use]
    pub fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    /// Decides what may be sent again, before the table is looked at: gRPC methods by their path,
    /// for example. `None` leaves it to the table.
    #[must_use]
    pub fn retry_safety(
        mut self,
        decide: impl Fn(&Parts) -> Option<RetrySafety> + Send + Sync + 'static,
    ) -> Self {
        self.retry_safety = Some(Arc::new(decide));
        self
    }

    fn safety_of(&self, head: &Parts) -> RetrySafety {
        let told = || head.extensions.get().copied();
        let decided = || self.retry_safety.as_ref().and_then(|decide| decide(head));
        told().or_else(decided).unwrap_or_else(|| by_method(head))
    }
}

fn by_method(head: &Parts) -> RetrySafety {
    if head.method == Method::CONNECT || head.headers.contains_key(header::UPGRADE) {
        RetrySafety::Never
    } else if head.method.is_idempotent() || head.headers.contains_key("idempotency-key") {
        RetrySafety::Idempotent
    } else {
        RetrySafety::IfUnsent
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReplayLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayLayer").field("cap", &self.cap).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay { inner, layer: self.clone() }
    }
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> S::Future {
        let (head, body) = request.into_parts();
        let body = ReplayBody::new(body, self.layer.safety_of(&head), self.layer.cap);
        self.inner.call(Request::from_parts(head, body))
    }
}

impl<B> RetryableRequest for Request<ReplayBody<B>> {
    #[inline]
    fn retry_safety(&self) -> RetrySafety {
        self.body().retry_safety()
    }

    fn try_clone(&self) -> Option<Self> {
        let mut copy = Self::new(self.body().try_clone()?);
        *copy.method_mut() = self.method().clone();
        *copy.uri_mut() = self.uri().clone();
        *copy.version_mut() = self.version();
        copy.headers_mut().clone_from(self.headers());
        copy.extensions_mut().clone_from(self.extensions());
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn retry_safety(layer: &ReplayLayer, request: http::request::Builder) -> RetrySafety {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let body = Empty::<bytes::Bytes>::new();
        ReplayBody::new(body, layer.safety_of(&head), layer.cap).retry_safety()
    }

    #[test]
    fn methods_keys_and_the_callers_word_decide() {
        let layer = ReplayLayer::new();
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            let request = Request::builder().method(method);
            assert_eq!(retry_safety(&layer, request), RetrySafety::Idempotent, "{method}");
        }
        for method in ["POST", "PATCH", "BREW"] {
            let request = || Request::builder().method(method);
            assert_eq!(retry_safety(&layer, request()), RetrySafety::IfUnsent, "{method}");
            let keyed = request().header("Idempotency-Key", "\"7\"");
            assert_eq!(retry_safety(&layer, keyed), RetrySafety::Idempotent);
            let told = request().extension(RetrySafety::Idempotent);
            assert_eq!(retry_safety(&layer, told), RetrySafety::Idempotent);
        }
        let upgrade = Request::get("/").header("upgrade", "websocket");
        assert_eq!(retry_safety(&layer, upgrade), RetrySafety::Never);
        assert_eq!(retry_safety(&layer, Request::connect("a:1")), RetrySafety::Never);
        let told = Request::get("/").extension(RetrySafety::Never);
        assert_eq!(retry_safety(&layer, told), RetrySafety::Never);
    }

    #[test]
    fn a_function_decides_before_the_table() {
        let layer = ReplayLayer::new().retry_safety(|head| {
            head.uri.path().starts_with("/shop.Catalog/").then_some(RetrySafety::Idempotent)
        });
        assert_eq!(
            retry_safety(&layer, Request::post("/shop.Catalog/List")),
            RetrySafety::Idempotent
        );
        assert_eq!(retry_safety(&layer, Request::post("/shop.Orders/Pay")), RetrySafety::IfUnsent);
    }

    #[test]
    fn copies_have_the_whole_head() {
        let body = ReplayBody::new(Empty::<bytes::Bytes>::new(), RetrySafety::Idempotent, 0);
        let request = Request::put("http://a/b?c").version(http::Version::HTTP_2);
        let request = request.header("x", "1").header("x", "2").extension(7_u8).body(body).unwrap();
        let copy = request.try_clone().unwrap();
        assert_eq!((copy.method(), copy.uri()), (request.method(), request.uri()));
        assert_eq!((copy.version(), copy.headers()), (request.version(), request.headers()));
        assert_eq!(copy.extensions().get::<u8>(), Some(&7));
    }
}
