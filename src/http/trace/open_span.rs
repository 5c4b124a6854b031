use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tracing::Span;

use super::{error_type::error_type, progress::Progress};
use crate::{BoxError, escape::EscapedChain};

/// A span that is not closed yet. If it is dropped before its result is known, the request was
/// cancelled, which is no error.
#[derive(Debug)]
pub(super) struct OpenSpan {
    span: Span,
    kind: SpanKind,
    /// `None` once the result is recorded, and if the span is disabled.
    progress: Option<Progress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanKind {
    Request,
    Attempt,
}

impl OpenSpan {
    #[inline]
    pub(super) fn disabled(kind: SpanKind) -> Self {
        Self { span: Span::none(), kind, progress: None }
    }

    pub(super) fn new(span: Span, kind: SpanKind, progress: Progress) -> Self {
        Self { span, kind, progress: Some(progress) }
    }

    #[cold]
    fn finish<B>(&mut self, result: &Result<Response<B>, BoxError>) {
        let Some(progress) = self.progress.take() else { return };
        match result {
            Ok(response) => self.record_response(response.status(), response.version()),
            Err(error) => self.record_error(&**error),
        }
        self.close(&progress);
    }

    fn record_response(&self, status: StatusCode, version: Version) {
        let is_error = match self.kind {
            // The caller's faults are errors of each attempt, but the balancer did its work.
            SpanKind::Request => status.is_server_error(),
            SpanKind::Attempt => status.is_client_error() || status.is_server_error(),
        };
        if is_error {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", status.as_str());
        }
        self.span.record("lb.outcome", "response");
        if self.kind == SpanKind::Attempt {
            self.span.record("http.response.status_code", i64::from(status.as_u16()));
            self.span.record("network.protocol.version", version_name(version));
        }
    }

    fn record_error(&self, error: &(dyn StdError + 'static)) {
        self.span.record("otel.status_code", "ERROR");
        self.span.record("otel.status_description", tracing::field::display(EscapedChain(error)));
        self.span.record("error.type", error_type(error));
        self.span.record("lb.outcome", "error");
    }

    fn close(&mut self, progress: &Progress) {
        match self.kind {
            SpanKind::Request => {
                _ = self.span.record("lb.attempts", i64::from(progress.attempts()))
            }
            SpanKind::Attempt => progress.end_attempt(),
        }
        // The future may be kept after it has completed, and the body outlives it.
        self.span = Span::none();
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if let Some(progress) = self.progress.take() {
            self.span.record("lb.outcome", "cancelled");
            self.close(&progress);
        }
    }
}

fn version_name(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

pin_project! {
    /// The response future of [`TraceRequests`](super::TraceRequests) and
    /// [`TracedEndpoint`](super::TracedEndpoint).
    #[derive(Debug)]
    pub struct TracedFuture<F> {
        #[pin]
        response: F,
        open: OpenSpan,
    }
}

impl<F> TracedFuture<F> {
    /// Calls a service within the span.
    #[inline]
    pub(super) fn call(open: OpenSpan, call: impl FnOnce() -> F) -> Self {
        let entered = open.span.enter();
        let response = call();
        drop(entered);
        Self { response, open }
    }
}

impl<F, B, E> Future for TracedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Disabled, which costs no more than this.
        if this.open.progress.is_none() {
            return this.response.poll(cx).map_err(Into::into);
        }
        let result = ready!(this.open.span.in_scope(|| this.response.poll(cx)));
        let result = result.map_err(Into::into);
        this.open.finish(&result);
        Poll::Ready(result)
    }
}
