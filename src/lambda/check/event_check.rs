use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, Uri, header::USER_AGENT};
use tower_service::Service;

use super::probe;
use crate::{
    BoxError,
    health::Check,
    lambda::{EventFormat, Invocation, Invoked},
};

/// Checks that a function responds to the event of a load balancer's health check, by default with
/// status 200.
///
/// The event is a `GET` without a body from the user agent `ELB-HealthChecker/2.0`. Functions that
/// recognize an Application Load Balancer's checks recognize these. A throttled function passes:
/// [`Throttles`](crate::lambda::Throttles) handles throttles.
///
/// Each check is an invocation **that costs money**, at each endpoint, from each balancer. An
/// Application Load Balancer checks functions every 35 s with a timeout of 30 s, as here:
///
/// ```
/// use std::time::Duration;
/// use tower_lb::{health::HealthCheck, lambda::{AlbEvent, EventCheck}};
///
/// # let target_group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a/0";
/// let check = EventCheck::get(AlbEvent::new(target_group), "/healthz".parse()?);
/// let check = HealthCheck::new(check)
///     .interval(Duration::from_secs(35))
///     .timeout(Duration::from_secs(30));
/// # Ok::<_, http::uri::InvalidUri>(())
/// ```
pub struct EventCheck<F> {
    format: F,
    path: Uri,
    status: Arc<dyn Fn(StatusCode) -> bool + Send + Sync>,
}

/// The user agent of a load balancer's checks.
const HEALTH_CHECKER: HeaderValue = HeaderValue::from_static("ELB-HealthChecker/2.0");

impl<F: EventFormat> EventCheck<F> {
    /// Creates a check that requests `path`, with its query if it has one.
    pub fn get(format: F, path: Uri) -> Self {
        Self { format, path, status: Arc::new(|status| status == StatusCode::OK) }
    }

    /// Sets which status passes. Default 200.
    #[must_use]
    pub fn status(
        mut self,
        is_healthy: impl Fn(StatusCode) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.status = Arc::new(is_healthy);
        self
    }

    fn invocation(&self) -> Result<Invocation, BoxError> {
        let mut request = Request::new(());
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(USER_AGENT, HEALTH_CHECKER);
        let event = self.format.encode(&request.into_parts().0, &[])?;
        Ok(Invocation::new(event))
    }
}

impl<F, S> Check<S> for EventCheck<F>
where
    F: EventFormat + Clone + Send + Sync + 'static,
    S: Service<Invocation, Response = Invoked, Error: Into<BoxError>, Future: Send>
        + Send
        + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let this = self.clone();
        Box::pin(async move {
            let Some(invoked) = probe(service, this.invocation()?).await? else { return Ok(()) };
            if let Some(failed) = invoked.function_error() {
                return Err(failed.to_string().into());
            }
            let status = this.format.decode(invoked.into_payload())?.status();
            match (this.status)(status) {
                true => Ok(()),
                false => Err(format!("the function responded with status {status}").into()),
            }
        })
    }
}

impl<F: Clone> Clone for EventCheck<F> {
    fn clone(&self) -> Self {
        let (format, path) = (self.format.clone(), self.path.clone());
        Self { format, path, status: Arc::clone(&self.status) }
    }
}

impl<F: fmt::Debug> fmt::Debug for EventCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCheck")
            .field("format", &self.format)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
