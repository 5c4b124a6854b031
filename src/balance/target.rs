use tower_service::Service;

use crate::BoxError;

/// A service that a balancer can send requests of type `Req` to.
///
/// [`Balancer::new`](super::Balancer::new) asks for it, so that the compiler rejects a target that
/// is not a service where it is passed in.
#[diagnostic::on_unimplemented(
    message = "endpoints whose target is `{Self}` cannot be balanced",
    label = "the targets of these endpoints are not services that a balancer can call",
    note = "if the targets are addresses, call `.connect(...)` on the stream to make services of them",
    note = "a target implements `Service` and `Clone`, and its error implements `Into<BoxError>`"
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
