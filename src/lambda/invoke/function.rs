use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::future::{Either, Ready, ready};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::{
    future::polled_after_completion,
    lambda::{FunctionName, Invocation, InvokeError, Invoked, InvokedStream, PayloadLimits},
};

/// A Lambda function, or one alias or version of it, as a `Service`: an endpoint for a
/// [`Balancer`](crate::Balancer).
///
/// `poll_ready` always returns ready; Lambda rejects invocations that exceed its limits. A payload
/// larger than the [`PayloadLimits`] is not sent: the call fails with [`InvokeError::TooLarge`].
#[derive(Clone, Debug)]
pub struct Function<I> {
    invoke: I,
    name: FunctionName,
    limits: PayloadLimits,
}

impl<I> Function<I> {
    /// Creates a service that invokes `name`, under the qualifier of that name if it has one.
    pub fn new(invoke: I, name: FunctionName) -> Self {
        Self { invoke, name, limits: PayloadLimits::new() }
    }

    /// Returns a closure that creates a function for each name, for
    /// [`DiscoverExt::connect`](crate::discover::DiscoverExt::connect).
    pub fn connector(invoke: I) -> impl Fn(&FunctionName) -> Self + Clone
    where
        I: Clone,
    {
        move |name| Self::new(invoke.clone(), name.clone())
    }

    /// Sets the largest payloads that are sent. Default: the limits of the service.
    #[must_use]
    pub fn with_limits(mut self, limits: PayloadLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns the function's name.
    #[must_use]
    pub fn name(&self) -> &FunctionName {
        &self.name
    }

    /// Returns the same function with streamed responses.
    #[must_use]
    pub fn streaming(self) -> StreamingFunction<I> {
        StreamingFunction { function: self }
    }

    fn send<F, R>(
        &self,
        invocation: Invocation,
        send: impl FnOnce(&I, &FunctionName, Invocation) -> F,
    ) -> FunctionFuture<F>
    where
        F: Future<Output = Result<R, InvokeError>>,
    {
        let response = match self.limits.check(&invocation) {
            Err(error) => Either::Left(ready(Err(error))),
            Ok(()) => {
                let invocation = invocation.or_qualifier(self.name.qualifier());
                Either::Right(send(&self.invoke, &self.name, invocation))
            }
        };
        FunctionFuture { response: Some(response) }
    }
}

impl<I: Invoke> Service<Invocation> for Function<I> {
    type Response = Invoked;
    type Error = InvokeError;
    type Future = FunctionFuture<I::Future>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), InvokeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.send(invocation, I::invoke)
    }
}

/// A function with streamed responses, created by [`Function::streaming`]. In a balancer,
/// [`UntilStreamEnd`](crate::lambda::UntilStreamEnd) tracks each response to its end.
#[derive(Clone, Debug)]
pub struct StreamingFunction<I> {
    function: Function<I>,
}

impl<I: InvokeStreaming> Service<Invocation> for StreamingFunction<I> {
    type Response = InvokedStream;
    type Error = InvokeError;
    type Future = FunctionFuture<I::Future>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), InvokeError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, invocation: Invocation) -> Self::Future {
        self.function.send(invocation, I::invoke_streaming)
    }
}

pin_project! {
    /// The response future of [`Function`] and [`StreamingFunction`].
    #[derive(Debug)]
    pub struct FunctionFuture<F>
    where
        F: Future,
    {
        // Ready if the invocation is not sent; `None` after completion.
        #[pin]
        response: Option<Either<Ready<F::Output>, F>>,
    }
}

impl<F: Future> Future for FunctionFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let Some(response) = this.response.as_mut().as_pin_mut() else {
            polled_after_completion("FunctionFuture")
        };
        let output = ready!(response.poll(cx));
        this.response.set(None);
        Poll::Ready(output)
    }
}

/// Sends invocations to Lambda; the transport of a [`Function`](crate::lambda::Function).
///
/// `aws::Sdk` (feature `aws`) implements it with the AWS SDK. Tests can pass a closure:
///
/// ```
/// use std::future::ready;
/// use tower::ServiceExt;
/// use tower_lb::lambda::{Function, FunctionName, Invocation, Invoked};
///
/// # tokio_test::block_on(async {
/// let echo = |_: &FunctionName, invocation: Invocation| {
///     ready(Ok(Invoked::new(200, invocation.into_payload())))
/// };
/// let function = Function::new(echo, "echo".parse()?);
/// assert_eq!(function.oneshot("{}".into()).await?.payload(), "{}");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Invoke {
    /// The future response.
    type Future: Future<Output = Result<Invoked, InvokeError>>;

    /// Sends `invocation` to `function` once. Implementations must not retry.
    ///
    /// The qualifier is that of the invocation; implementations ignore the qualifier of `function`.
    fn invoke(&self, function: &FunctionName, invocation: Invocation) -> Self::Future;
}

impl<F, Fut> Invoke for F
where
    F: Fn(&FunctionName, Invocation) -> Fut,
    Fut: Future<Output = Result<Invoked, InvokeError>>,
{
    type Future = Fut;

    fn invoke(&self, function: &FunctionName, invocation: Invocation) -> Fut {
        self(function, invocation)
    }
}

/// An [`Invoke`] that also supports streamed responses.
pub trait InvokeStreaming {
    /// The future beginning of a streamed response.
    type Future: Future<Output = Result<InvokedStream, InvokeError>>;

    /// Sends `invocation` to `function` once. The response is passed on as the function writes it.
    fn invoke_streaming(&self, function: &FunctionName, invocation: Invocation) -> Self::Future;
}
