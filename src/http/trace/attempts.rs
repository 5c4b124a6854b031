use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response};
use tower_service::Service;
use tracing::{Span, field::Empty};

use super::{
    Peer, TARGET, UrlTemplate,
    open_span::{OpenSpan, SpanKind, TracedFuture},
    progress::Progress,
    url::{FullUrl, Server, Short, SpanName, known_method},
};
use crate::{
    BoxError,
    escape::Escaped,
    opaque::Opaque,
    outcome::{Attempts, Carry},
};

/// Wraps each endpoint such that its attempts are traced; made by
/// [`TraceExt::connect_traced`](super::TraceExt::connect_traced).
#[derive(Clone, Debug, Default)]
pub struct TraceAttempts {
    propagate: Option<Opaque<Propagate>>,
}

type Propagate = Arc<dyn Fn(&Span, &mut HeaderMap) + Send + Sync>;

impl TraceAttempts {
    /// Creates spans, and leaves the headers of requests as they are.
    #[must_use]
    pub fn new() -> Self {
        Self { propagate: None }
    }

    /// Calls `propagate` with the span of each attempt and the headers of its request, so that the
    /// span of the endpoint becomes a child of the attempt's. It has to replace `traceparent` and
    /// `tracestate`, and not to append to them: a request that is forwarded has those of its
    /// client. It is not called for an attempt whose span is disabled.
    ///
    /// With the crates `tracing-opentelemetry`, `opentelemetry` and `opentelemetry-http`:
    ///
    /// ```text
    /// TraceAttempts::new().propagate(|span, headers| {
    ///     let context = span.context();
    ///     global::get_text_map_propagator(|propagator| {
    ///         propagator.inject_context(&context, &mut HeaderInjector(headers));
    ///     });
    /// })
    /// ```
    #[must_use]
    pub fn propagate(
        mut self,
        propagate: impl Fn(&Span, &mut HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.propagate = Some(Opaque(Arc::new(propagate)));
        self
    }

    /// Traces the attempts at one endpoint: `service` sends requests to `peer`, and `name` is the
    /// endpoint's key. For endpoints that
    /// [`connect_traced`](super::TraceExt::connect_traced) cannot create.
    pub fn endpoint<S>(
        &self,
        name: impl fmt::Display,
        peer: impl Into<Peer>,
        service: S,
    ) -> TracedEndpoint<S> {
        let endpoint = Target {
            name: Escaped(name).to_string(),
            peer: peer.into(),
            propagate: self.propagate.clone(),
        };
        TracedEndpoint { inner: service, target: Arc::new(endpoint) }
    }
}

/// Creates a span for each attempt at one endpoint. Created by
/// [`TraceExt::connect_traced`](super::TraceExt::connect_traced).
///
/// The span ends with the head of the response. If the future is dropped before, as that of a hedge
/// that has lost, the field `lb.outcome` is `cancelled`, and there is no error.
#[derive(Clone, Debug)]
pub struct TracedEndpoint<S> {
    inner: S,
    target: Arc<Target>,
}

#[derive(Debug)]
struct Target {
    /// The name of the endpoint, escaped.
    name: String,
    peer: Peer,
    propagate: Option<Opaque<Propagate>>,
}

/// The most bytes of a method that a span shows.
const MAX_METHOD: usize = 32;
/// The most bytes of a template that a span shows.
const MAX_TEMPLATE: usize = 256;

impl Target {
    /// Returns the span of an attempt, disabled if it is not wanted.
    #[cold]
    fn open<B>(&self, request: &mut Request<B>, progress: Progress) -> OpenSpan {
        let span = self.span(request);
        if span.is_disabled() {
            return OpenSpan::disabled(SpanKind::Attempt);
        }
        let sent_before = progress.begin_attempt();
        if sent_before > 0 {
            record_resend(&span, request, &progress, sent_before);
        }
        if let Some(Opaque(propagate)) = &self.propagate {
            propagate(&span, request.headers_mut());
        }
        OpenSpan::new(span, SpanKind::Attempt, progress)
    }

    fn span<B>(&self, request: &Request<B>) -> Span {
        let (method, uri) = (request.method(), request.uri());
        let known = known_method(method);
        let original = Short(method.as_str(), MAX_METHOD);
        let template = request.extensions().get().map(UrlTemplate::as_str);
        let template = template.map(|template| Escaped(Short(template, MAX_TEMPLATE)).to_string());
        let server = Server::of(uri, &self.peer);
        let address = self.peer.address();
        tracing::info_span!(
            target: TARGET,
            "attempt",
            otel.name = %SpanName { method, template: template.as_deref() },
            otel.kind = "client",
            otel.status_code = Empty,
            otel.status_description = Empty,
            http.request.method = known.unwrap_or("_OTHER"),
            http.request.method_original = known.is_none().then(|| tracing::field::display(original)),
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            url.full = %FullUrl { server: &server, uri },
            url.scheme = server.scheme,
            url.template = template.as_deref(),
            server.address = server.host,
            server.port = i64::from(server.port),
            network.peer.address = address.map(|address| tracing::field::display(address.ip())),
            network.peer.port = address.map(|address| i64::from(address.port())),
            network.protocol.version = Empty,
            error.type = Empty,
            lb.endpoint = &*self.name,
            lb.attempt.reason = Empty,
            lb.attempt.wait = Empty,
            lb.outcome = Empty,
        )
    }
}

/// Records why an attempt is not the first one of its request.
fn record_resend<B>(span: &Span, request: &Request<B>, progress: &Progress, sent_before: u32) {
    span.record("http.request.resend_count", i64::from(sent_before));
    let attempts = request.attempts();
    if attempts.is_some_and(Attempts::is_elsewhere) {
        // It waited for the response of an attempt that is in flight, and for no end.
        span.record("lb.attempt.reason", "hedge");
        return;
    }
    let failure = attempts.and_then(Attempts::last_failure);
    span.record("lb.attempt.reason", failure.map_or("failover", |outcome| outcome.as_str()));
    span.record("lb.attempt.wait", progress.since_last_end().map(|wait| wait.as_secs_f64()));
}

impl<S, B, R> Service<Request<B>> for TracedEndpoint<S>
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
        // Only requests with an enabled span carry it.
        let progress = request.extensions().get::<Progress>().cloned();
        let open = match progress {
            Some(progress) => self.target.open(&mut request, progress),
            None => OpenSpan::disabled(SpanKind::Attempt),
        };
        TracedFuture::call(open, || self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use allocation_counter::measure;
    use futures::FutureExt;
    use http::HeaderValue;
    use tower::{Layer, service_fn};
    use tracing::subscriber::{NoSubscriber, with_default};

    use super::*;
    use crate::http::trace::TraceRequestsLayer;

    #[test]
    fn without_a_subscriber_nothing_is_allocated_and_no_header_is_touched() {
        let echo = |request: Request<()>| ready(Ok::<_, Infallible>(request_head(request)));
        let propagate = |_: &Span, headers: &mut HeaderMap| headers.clear();
        let trace = TraceAttempts::new().propagate(propagate);
        let endpoint = trace.endpoint("a", Peer::named("a.test", 80), service_fn(echo));
        let mut service = TraceRequestsLayer::new("shop").layer(endpoint);
        let mut request = Request::new(());
        request.headers_mut().insert("traceparent", HeaderValue::from_static("of the client"));
        let mut response = None;
        // The only subscriber of a process decides for all threads, and a test beside this one may
        // install it.
        let allocated = with_default(NoSubscriber::new(), || {
            measure(|| response = Some(service.call(request).now_or_never()))
        });
        let response = response.flatten().unwrap().unwrap();
        assert_eq!(response.headers()["traceparent"], "of the client");
        assert!(response.extensions().is_empty());
        assert_eq!(allocated.count_total, 0);
    }

    /// Responds with the headers and the extensions of a request.
    fn request_head(request: Request<()>) -> Response<()> {
        let (head, body) = request.into_parts();
        let mut response = Response::new(body);
        *response.headers_mut() = head.headers;
        *response.extensions_mut() = head.extensions;
        response
    }
}
