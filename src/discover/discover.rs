use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, TryStream};

use super::Update;

/// A source of endpoints: any stream of `Result<Update<Key, Target>, Error>`.
///
/// An error changes no endpoint: consumers report it and keep the endpoints that they have. The end
/// of the stream means that the endpoints no longer change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of endpoints",
    note = "if it is a list of addresses, pass it to `discover::addresses`",
    note = "a source is a stream of `Result<Update<Key, Target>, Error>`; `discover::list`, `addresses` and `channel` make one"
)]
pub trait Discover: Stream<Item = Result<Update<Self::Key, Self::Target>, Self::Error>> {
    /// The type that identifies an endpoint.
    type Key;
    /// The address or service of an endpoint.
    type Target;
    /// The error of a failed discovery.
    type Error;

    /// Polls for the next update.
    fn poll_discover(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Update<Self::Key, Self::Target>, Self::Error>>>;
}

#[diagnostic::do_not_recommend]
impl<K, T, E, D> Discover for D
where
    D: TryStream<Ok = Update<K, T>, Error = E> + Stream<Item = Result<Update<K, T>, E>> + ?Sized,
{
    type Key = K;
    type Target = T;
    type Error = E;

    fn poll_discover(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Update<K, T>, E>>> {
        self.poll_next(cx)
    }
}
