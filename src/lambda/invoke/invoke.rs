use std::future::Future;

use crate::lambda::{FunctionName, Invocation, InvokeError, Invoked, InvokedStream};

/// Gets invocations to Lambda: what a [`Function`](crate::lambda::Function) sends by.
///
/// `aws::Sdk` (feature `aws`) does it by the AWS SDK; a test may do it by a closure:
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
    /// The answer to come.
    type Future: Future<Output = Result<Invoked, InvokeError>>;

    /// Sends an invocation to a function, once: it must not be repeated underneath.
    ///
    /// The qualifier, if any, is the invocation's; that of the name is not to be looked at.
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

/// An [`Invoke`] that streams answers too.
pub trait InvokeStreaming {
    /// The beginning of the answer to come.
    type Future: Future<Output = Result<InvokedStream, InvokeError>>;

    /// Sends an invocation to a function, once; its answer is passed on as it is written.
    fn invoke_streaming(&self, function: &FunctionName, invocation: Invocation) -> Self::Future;
}
