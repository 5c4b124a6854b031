use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, request::Parts};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    http::ReplayBody,
    http_semantics::{explicit_retry_safety, retry_safety_by_head, safety_of_switch},
    opaque::Opaque,
    retry::{RetrySafety, RetryableRequest},
};

/// Makes HTTP requests repeatable for the [retries](crate::retry) inside it.
///
/// It decides when a request may be sent more than once, and keeps the request body for that.
///
/// | request | safety |
/// |---|---|
/// | with a [`RetrySafety`] in its extensions | that one, because the caller has decided |
/// | `CONNECT`, or with an `Upgrade` to another protocol than `h2c` | [`RetrySafety::IfUnsent`] |
/// | `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` or `DELETE` | [`RetrySafety::Idempotent`] |
/// | with an `Idempotency-Key` | [`RetrySafety::Idempotent`] |
/// | any other, gRPC's among them | [`RetrySafety::IfUnsent`] |
///
/// A request whose body is longer than [`cap`](ReplayLayer::cap) is
/// [`IfUnsent`](RetrySafety::IfUnsent). A request that may never be retried or has no body needs no
/// allocation here. Any other body is moved to the heap.
#[derive(Clone, Debug)]
pub struct Replay<S> {
    inner: S,
    layer: ReplayLayer,
}

/// Wraps services in [`Replay`].
#[derive(Clone, Debug)]
pub struct ReplayLayer {
    cap: usize,
    retry_safety: Option<Opaque<Arc<dyn Fn(&Parts) -> Option<RetrySafety> + Send + Sync>>>,
}

impl ReplayLayer {
    /// Keeps up to 64 KiB of a body and its trailers, and decides by the table of [`Replay`].
    #[must_use]
    pub fn new() -> Self {
        Self { cap: 64 << 10, retry_safety: None }
    }

    setters! {
        /// Sets how many bytes of a body are kept, trailers included. Default 64 KiB.
        ///
        /// [`ReplayBody`] describes what counts. A request holds at most `bytes` of memory, plus 1
        /// %, plus 8 KiB.
        pub fn cap(bytes: usize) => cap = bytes;
    }

    /// Sets a function that decides before the table of [`Replay`] does, for example by the path of
    /// gRPC methods. If it returns `None`, the table decides.
    #[must_use]
    pub fn retry_safety(
        mut self,
        decide: impl Fn(&Parts) -> Option<RetrySafety> + Send + Sync + 'static,
    ) -> Self {
        self.retry_safety = Some(Opaque(Arc::new(decide)));
        self
    }

    fn safety_of(&self, head: &Parts) -> RetrySafety {
        explicit_retry_safety(head)
            .or_else(|| self.retry_safety.as_ref().and_then(|Opaque(decide)| decide(head)))
            .map_or_else(|| retry_safety_by_head(head), |safety| safety_of_switch(safety, head))
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay { inner, layer: self.clone() }
    }
}

impl<S: Service<Request<ReplayBody<B>>>, B: Body> Service<Request<B>> for Replay<S> {
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

    /// `http_semantics` has the tests of the table.
    #[test]
    fn the_extensions_decide_before_the_function_and_the_function_before_the_table() {
        let layer = ReplayLayer::new().retry_safety(|head| {
            head.uri.path().starts_with("/shop.Catalog/").then_some(RetrySafety::Idempotent)
        });
        for (request, expected) in [
            (Request::get("/"), RetrySafety::Idempotent),
            (Request::post("/shop.Catalog/List"), RetrySafety::Idempotent),
            (Request::post("/shop.Orders/Pay"), RetrySafety::IfUnsent),
            (Request::post("/").header("Idempotency-Key", "7"), RetrySafety::Idempotent),
            (Request::get("/").header("upgrade", "websocket"), RetrySafety::IfUnsent),
            (Request::get("/shop.Catalog/").header("upgrade", "websocket"), RetrySafety::IfUnsent),
            (Request::post("/").extension(RetrySafety::Idempotent), RetrySafety::Idempotent),
            (Request::get("/shop.Catalog/").extension(RetrySafety::Never), RetrySafety::Never),
        ] {
            let (head, ()) = request.body(()).unwrap().into_parts();
            let body = ReplayBody::new(Empty::<bytes::Bytes>::new(), layer.safety_of(&head), 9);
            assert_eq!(body.retry_safety(), expected, "{head:?}");
        }
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
