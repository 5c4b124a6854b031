use futures::future::BoxFuture;

use crate::BoxError;

/// A way to find out whether an endpoint is healthy.
///
/// What it is given is the endpoint's target at the place where the check is put: the service after
/// [`connect`](crate::discover::DiscoverExt::connect), the address before. Any function of that which
/// gives a future of a `Result` is a check; the error is the reason that people are told.
pub trait Check<T> {
    /// CheckPolicy once. The future is dropped if it takes too long, or the endpoint is removed.
    fn check(&self, target: T) -> BoxFuture<'static, Result<(), BoxError>>;
}

impl<T, F, R, E> Check<T> for F
where
    F: Fn(T) -> R,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn check(&self, target: T) -> BoxFuture<'static, Result<(), BoxError>> {
        let checking = self(target);
        Box::pin(async move { checking.await.map_err(Into::into) })
    }
}
