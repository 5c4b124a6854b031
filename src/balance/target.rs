use tower_service::Service;

use crate::BoxError;

/// A service that a balancer can send requests of type `Req` to.
///
/// [`Balancer`](super::Balancer) asks for it, so that the compiler says what is missing from a
/// target, and `Balancer::new` so that the error appears where the target is passed in.
#[diagnostic::on_unimplemented(
    message = "endpoints whose target is `{Self}` cannot be balanced for requests of type `{Req}`",
    label = "the targets of these endpoints are not services that a balancer can call",
    note = "if the targets are addresses, call `.connect(...)` on the stream to make services of them",
    note = "a target implements `Service<{Req}>` and `Clone`, and its error implements `Into<BoxError>`",
    note = "a strategy that sees the request, as by a key, must be for the type of requests that the targets take"
)]
#[expect(unnameable_types, reason = "implemented for every such service")]
pub trait Target<Req>: Service<Req, Error: Into<BoxError>> + Clone {}

#[diagnostic::do_not_recommend]
impl<S, Req> Target<Req> for S
where
    S: Service<Req> + Clone,
    S::Error: Into<BoxError>,
{
}
