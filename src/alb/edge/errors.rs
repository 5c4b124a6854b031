use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    alb::ElbError,
    escape::EscapedChain,
    http::{GatewayBody, own_response},
    log_limit::LogLimits,
};

/// Wraps a service in [`ErrorResponses`].
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::alb) struct ErrorResponsesLayer;

impl<S> Layer<S> for ErrorResponsesLayer {
    type Service = ErrorResponses<S>;

    fn layer(&self, inner: S) -> ErrorResponses<S> {
        ErrorResponses { inner, log: Arc::default() }
    }
}

/// Turns errors into the responses of an Application Load Balancer; see [`ElbError`].
#[derive(Clone, Debug)]
pub(in crate::alb) struct ErrorResponses<S> {
    inner: S,
    log: Arc<LogLimits<String>>,
}

impl<S, B, R> Service<Request<B>> for ErrorResponses<S>
where
    S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
{
    type Response = Response<GatewayBody<R>>;
    type Error = Infallible;
    type Future = ErrorResponsesFuture<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Rules are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ErrorResponsesFuture { response: self.inner.call(request), log: Arc::clone(&self.log) }
    }
}

pin_project! {
    /// The response future of [`ErrorResponses`].
    pub(in crate::alb) struct ErrorResponsesFuture<F> {
        #[pin]
        response: F,
        log: Arc<LogLimits<String>>,
    }
}

impl<F, R, E> Future for ErrorResponsesFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<GatewayBody<R>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match ready!(this.response.poll(cx)) {
            Ok(response) => return Poll::Ready(Ok(response.map(GatewayBody::endpoint))),
            Err(error) => error.into(),
        };
        let failure = ElbError::of(&*error);
        log_failure(this.log, failure, &*error);
        Poll::Ready(Ok(own_response(failure.response())))
    }
}

/// Logs a failure of targets at `WARN`, each status once per minute, and all others at `DEBUG`.
#[cold]
fn log_failure(
    log: &LogLimits<String>,
    failure: ElbError,
    error: &(dyn std::error::Error + 'static),
) {
    let (status, cause) = (failure.status(), EscapedChain(error));
    let passed = if status.is_server_error() { log.pass(status.as_str()) } else { None };
    let status = status.as_u16();
    match passed {
        Some(suppressed) => {
            tracing::warn!(status, error = %cause, suppressed, "request failed");
        }
        None => tracing::debug!(status, error = %cause, "request failed"),
    }
}
