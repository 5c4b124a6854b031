//! Health checks that invoke functions: `DryRun` is free, `EventCheck` and `WarmUp` cost an
//! invocation.

use std::{fmt, future::poll_fn, sync::Arc};

use bytes::Bytes;
use futures::future::{BoxFuture, try_join_all};
use http::{HeaderValue, Request, StatusCode, Uri, header::USER_AGENT};
use jiff::Timestamp;
use serde_json::json;
use tower_service::Service;

use crate::{
    BoxError, ConfigError,
    health::Check,
    lambda::{
        EventFormat, Invocation, InvocationType, InvokeError, Invoked, event::event_json::uuid,
    },
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
#[derive(Clone)]
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

impl<F: fmt::Debug> fmt::Debug for EventCheck<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventCheck")
            .field("format", &self.format)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Keeps environments of functions warm by invoking them as a health check.
///
/// A function passes if it ran, whatever its response. A function that is missing, forbidden or not
/// reachable fails. A throttled function passes. As with every health check, a new endpoint gets no
/// request before it has passed, so it is warm for its first request.
///
/// Each check is an invocation **that costs money**. Lambda keeps an idle environment for some
/// minutes and guarantees nothing:
///
/// ```
/// use std::time::Duration;
/// use tower_lb::{health::HealthCheck, lambda::WarmUp};
///
/// // The functions receive what a scheduled rule of EventBridge sends.
/// let warm = WarmUp::scheduled("arn:aws:events:eu-west-1:123456789012:rule/warm-up");
/// let interval = Duration::from_secs(240);
/// let check = HealthCheck::new(warm.environments(3)?)
///     .interval(interval)
///     .idle_interval(interval)
///     .timeout(Duration::from_secs(10));
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct WarmUp {
    event: Event,
    environments: u32,
}

#[derive(Clone, Debug)]
enum Event {
    Scheduled { rule: Box<str> },
    Custom(Bytes),
}

impl WarmUp {
    /// Creates a check that sends `event`: JSON, which the function recognizes and ignores.
    pub fn event(event: impl Into<Bytes>) -> Self {
        Self { event: Event::Custom(event.into()), environments: 1 }
    }

    /// Creates a check that sends the event of a scheduled rule of EventBridge: `source` is
    /// `aws.events`, `detail-type` is `Scheduled Event`, account and region are those of the ARN
    /// `rule`.
    pub fn scheduled(rule: impl Into<Box<str>>) -> Self {
        Self { event: Event::Scheduled { rule: rule.into() }, environments: 1 }
    }

    /// Sets the number of environments to keep warm, by as many concurrent invocations. The
    /// function must take a moment for the event, or two invocations share an environment. Default
    /// 1.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if `environments` is 0.
    pub fn environments(mut self, environments: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("environments", environments.into())?;
        self.environments = environments;
        Ok(self)
    }

    fn payload(&self) -> Bytes {
        match &self.event {
            Event::Custom(event) => event.clone(),
            Event::Scheduled { rule } => scheduled(rule, Timestamp::now()),
        }
    }
}

fn scheduled(rule: &str, now: Timestamp) -> Bytes {
    let part = |index| rule.split(':').nth(index).unwrap_or_default();
    let event = json!({
        "version": "0",
        "id": uuid(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": part(4),
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": part(3),
        "resources": [rule],
        "detail": {},
    });
    event.to_string().into()
}

impl<S> Check<S> for WarmUp
where
    S: Service<Invocation, Response = Invoked, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static,
{
    fn check(&self, service: S) -> BoxFuture<'static, Result<(), BoxError>> {
        let invocation = Invocation::new(self.payload());
        let probes = (0..self.environments).map(|_| probe(service.clone(), invocation.clone()));
        let probes = try_join_all(probes);
        Box::pin(async move { probes.await.map(drop) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn scheduled_events_match_those_of_eventbridge() {
        let rule = "arn:aws:events:eu-west-1:123456789012:rule/warm-up";
        let now = Timestamp::from_second(1_584_039_838).unwrap();
        let mut event: Value = serde_json::from_slice(&scheduled(rule, now)).unwrap();
        assert_eq!(event["id"].take().as_str().unwrap().len(), 36);
        let expected = json!({
            "version": "0", "id": null, "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "123456789012", "time": "2020-03-12T19:03:58Z", "region": "eu-west-1",
            "resources": [rule], "detail": {},
        });
        assert_eq!(event, expected);
        assert!(!scheduled("no ARN", now).is_empty());
    }
}
