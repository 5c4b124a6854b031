use std::future::Future;

use crate::lambda::{FunctionName, Invocation, InvokeError, Invoked, InvokedStream};

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
