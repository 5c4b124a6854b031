use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Span, field::Empty};

use super::{
    TARGET,
    open_span::{OpenSpan, SpanKind, TracedFuture},
    progress::Progress,
};
use crate::{BoxError, escape::Escaped};

/// Creates a span for each request, within which all its attempts take place.
///
/// Put it outside of retries, hedges and failovers, and inside of [`Gateway`](crate::http::Gateway),
/// which turns errors into responses. The span is no HTTP span, because its attempts are: with
/// fields of HTTP, a trace backend would count each request twice.
///
/// It ends with the head of the response. If the future is dropped before, its field `lb.outcome`
/// is `cancelled`.
#[derive(Clone, Debug)]
pub struct TraceRequests<S> {
    inner: S,
    name: Arc<str>,
}

/// Wraps services in [`TraceRequests`].
#[derive(Clone, Debug)]
pub struct TraceRequestsLayer {
    name: Arc<str>,
}

impl TraceRequestsLayer {
    /// Creates a layer for requests to a service of this name. It is the name of the spans and
    /// their field `lb.name`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into() }
    }
}

impl<S> Layer<S> for TraceRequestsLayer {
    type Service = TraceRequests<S>;

    fn layer(&self, inner: S) -> TraceRequests<S> {
        TraceRequests { inner, name: Arc::clone(&self.name) }
    }
}

impl<S> TraceRequests<S> {
    fn span(&self) -> Span {
        tracing::info_span!(
            target: TARGET,
            "balanced request",
            otel.name = %Escaped(&self.name),
            otel.kind = "internal",
            otel.status_code = Empty,
            otel.status_description = Empty,
            error.type = Empty,
            lb.name = %Escaped(&self.name),
            lb.attempts = Empty,
            lb.outcome = Empty,
        )
    }
}

impl<S, B, R> Service<Request<B>> for TraceRequests<S>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = TracedFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let span = self.span();
        let open = if span.is_disabled() {
            OpenSpan::disabled(SpanKind::Request)
        } else {
            // A request that has passed another layer like this one starts to count anew.
            let progress = Progress::default();
            request.extensions_mut().insert(progress.clone());
            OpenSpan::new(span, SpanKind::Request, progress)
        };
        TracedFuture::call(open, || self.inner.call(request))
    }
}
