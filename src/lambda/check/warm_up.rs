use bytes::Bytes;
use futures::future::BoxFuture;
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use tower_service::Service;

use super::probe;
use crate::{
    BoxError, ConfigError,
    health::Check,
    lambda::{Invocation, Invoked, event::uuid::uuid},
};

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

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Scheduled<'a> {
    version: &'a str,
    id: String,
    detail_type: &'a str,
    source: &'a str,
    account: &'a str,
    time: String,
    region: &'a str,
    resources: [&'a str; 1],
    detail: Empty,
}

#[derive(Serialize)]
struct Empty {}

fn scheduled(rule: &str, now: Timestamp) -> Bytes {
    let part = |index| rule.split(':').nth(index).unwrap_or_default();
    let event = Scheduled {
        version: "0",
        id: uuid(),
        detail_type: "Scheduled Event",
        source: "aws.events",
        account: part(4),
        time: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        region: part(3),
        resources: [rule],
        detail: Empty {},
    };
    // Serializing strings cannot fail.
    serde_json::to_vec(&event).unwrap_or_default().into()
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
    use serde_json::{Value, json};

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
