use std::future::poll_fn;

use tower_service::Service;

use crate::{
    BoxError,
    lambda::{Invocation, InvokeError, Invoked},
};

/// Invokes an endpoint's own service for a check. `None` if it is throttled: it has too much to do,
/// which is no illness, and [`Throttles`](crate::lambda::Throttles) knows what to do about it.
pub(super) async fn probe<S>(
    mut service: S,
    invocation: Invocation,
) -> Result<Option<Invoked>, BoxError>
where
    S: Service<Invocation, Response = Invoked, Error: Into<BoxError>>,
{
    let ready = poll_fn(|cx| service.poll_ready(cx).map_err(Into::into)).await;
    let invoked = match ready {
        Ok(()) => service.call(invocation).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    match invoked {
        Ok(invoked) => Ok(Some(invoked)),
        Err(error) => match InvokeError::find(&*error) {
            Some(InvokeError::Throttled(_)) => Ok(None),
            _ => Err(error),
        },
    }
}
