use futures::future::BoxFuture;

use crate::BoxError;

/// Finds out whether an endpoint is healthy.
///
/// `T` is the target of the endpoint where the adapter is placed: the address before
/// [`connect`](crate::discover::DiscoverExt::connect), the service after it. Any function from `T`
/// to a future of a `Result` is a check. The error becomes the reason why the endpoint is
/// unhealthy.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not check targets of type `{T}`",
    label = "this is not a check of these targets",
    note = "pass a function that takes the target by value and returns a `Send + 'static` future of a `Result<(), E>`: `async fn check(target: {T}) -> Result<(), BoxError>`",
    note = "the target is the address before `.connect(...)`, and the service after it"
)]
pub trait Check<T> {
    /// Checks `target` once. The future is dropped at the timeout, or when the endpoint is removed.
    fn check(&self, target: T) -> BoxFuture<'static, Result<(), BoxError>>;
}

#[diagnostic::do_not_recommend]
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
