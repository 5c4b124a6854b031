use futures::future::BoxFuture;
use tower_service::Service;

use super::check_invocation::probe;
use crate::{
    BoxError,
    health::Check,
    lambda::{Invocation, InvocationType, Invoked},
};

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
