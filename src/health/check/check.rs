use futures::future::BoxFuture;

use crate::BoxError;

/// Finds out whether an endpoint is healthy.
///
/// `T` is the target of the endpoint where the adapter is placed: the address before
/// [`connect`](crate::discover::DiscoverExt::connect), the service after it. Any function from `T`
/// to a future of a `Result` is a check. The error becomes the reason why the endpoint is
/// unhealthy.
pub trait Check<T> {
    /// Checks `target` once. The future is dropped at the timeout, or when the endpoint is removed.
    fn check(&self, target: T) -> BoxFuture<'static, Result<(), BoxError>>;
}

impl<T, F: Fn(T) -> R, R: Future<Output = Result<(), E>> + Send + 'static, E: Into<BoxError>>
    Check<T> for F
{
    fn check(&self, target: T) -> BoxFuture<'static, Result<(), BoxError>> {
        let checking = self(target);
        Box::pin(async move { checking.await.map_err(Into::into) })
    }
}
