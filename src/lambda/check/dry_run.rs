use futures::future::BoxFuture;
use tower_service::Service;

use super::check_invocation::probe;
use crate::{
    BoxError,
    health::Check,
    lambda::{Invocation, InvocationType, Invoked},
};

/// A function is healthy if it could be invoked: its region answers, it is there, and the caller may.
///
/// Lambda checks that without running any code, and charges nothing. So it says nothing of what the
/// code does, and keeps nothing warm; for that there is [`WarmUp`](crate::lambda::WarmUp). A throttled function
/// passes.
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
