use std::future::poll_fn;

use tower_service::Service;

use crate::{
    BoxError,
    lambda::{Invocation, InvokeError, Invoked},
};

/// Invokes an endpoint's service for a check. Returns `None` if the invocation is throttled: a
/// throttled function is not unhealthy, and [`Throttles`](crate::lambda::Throttles) handles it.
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
