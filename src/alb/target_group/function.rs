//! A Lambda function as the target of a group, whatever the type of its service.

use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tower_service::Service;

use crate::{
    BoxError,
    error::chain,
    lambda::{FunctionResponse, Invocation, InvokeError},
    outcome::is_timeout,
};

/// A service of invocations whose type is erased. Its errors are those that the ALB tells apart.
#[derive(Clone)]
pub(super) struct ErasedFunction(Arc<dyn Invokes>);

trait Invokes: Send + Sync {
    fn invoke(
        &self,
        invocation: Invocation,
    ) -> BoxFuture<'static, Result<FunctionResponse, BoxError>>;
}

struct Erasing<S>(S);

impl<S> Invokes for Erasing<S>
where
    S: Service<Invocation, Response: Into<FunctionResponse>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    fn invoke(
        &self,
        invocation: Invocation,
    ) -> BoxFuture<'static, Result<FunctionResponse, BoxError>> {
        let mut service = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
            service.call(invocation).await.map(Into::into).map_err(Into::into)
        })
    }
}

impl ErasedFunction {
    pub(super) fn new<S>(service: S) -> Self
    where
        S: Service<
                Invocation,
                Response: Into<FunctionResponse>,
                Error: Into<BoxError>,
                Future: Send,
            > + Clone
            + Send
            + Sync
            + 'static,
    {
        Self(Arc::new(Erasing(service)))
    }
}

impl Service<Invocation> for ErasedFunction {
    type Response = FunctionResponse;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<FunctionResponse, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        let response = self.0.invoke(invocation);
        Box::pin(async move { response.await.map_err(as_the_alb) })
    }
}

/// Hides all errors that the ALB answers with 502: those of the function, throttles, and those of
/// the service. A request that is too large keeps its status 413, and a service that does not
/// answer its 504.
fn as_the_alb(error: BoxError) -> BoxError {
    let is_too_large = matches!(InvokeError::find(&*error), Some(InvokeError::TooLarge { .. }));
    let is_late = matches!(InvokeError::find(&*error), Some(InvokeError::TimedOut(_)))
        || chain(&*error).any(is_timeout);
    if is_too_large || is_late {
        return error;
    }
    Box::new(InvocationFailed { cause: error.to_string() })
}

/// An invocation failed. It has no source, so that nothing takes it for an overload.
#[derive(Debug)]
struct InvocationFailed {
    cause: String,
}

impl fmt::Display for InvocationFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the invocation failed: {}", crate::escape::Escaped(&self.cause))
    }
}

impl StdError for InvocationFailed {}

impl fmt::Debug for ErasedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErasedFunction")
    }
}
