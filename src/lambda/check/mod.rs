//! Health checks that invoke functions: `DryRun` is free, `EventCheck` and `WarmUp` cost an
//! invocation.

mod event_check;
mod warm_up;

use std::future::poll_fn;

use futures::future::BoxFuture;
use tower_service::Service;

use crate::{
    BoxError,
    health::Check,
    lambda::{Invocation, InvocationType, InvokeError, Invoked},
};

pub use self::{event_check::EventCheck, warm_up::WarmUp};

/// Checks that a function can be invoked: its region responds, the function exists, and the caller
/// is allowed to invoke it.
///
/// Lambda verifies this without running code, and free of charge. The check therefore says nothing
/// about the code and keeps no environment warm; [`WarmUp`](crate::lambda::WarmUp) does. A
/// throttled function passes.
///
/// ```
/// use std::time::Duration;
/// use tower_lb::{health::HealthCheck, lambda::DryRun};
///
/// let check = HealthCheck::new(DryRun).interval(Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DryRun;

impl<S> Check<S> for DryRun
where
    S: Service<Invocation, Response = Invoked, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let invocation = Invocation::default().with_type(InvocationType::DryRun);
        Box::pin(async move { probe(service, invocation).await.map(drop) })
    }
}

/// Invokes an endpoint's service for a check. Returns `None` if the invocation is throttled: a
/// throttled function is not unhealthy, and [`Throttles`](crate::lambda::Throttles) handles it.
async fn probe<S>(mut service: S, invocation: Invocation) -> Result<Option<Invoked>, BoxError>
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
