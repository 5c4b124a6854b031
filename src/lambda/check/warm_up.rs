use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::future::try_join_all;
use serde::Serialize;
use tower_service::Service;

use super::check_invocation::probe;
use crate::{
    BoxError,
    health::Check,
    lambda::{
        Invocation, Invoked,
        event::{utc::Utc, uuid::uuid},
    },
};

/// Keeps environments of functions warm by invoking them, in the guise of a health check.
///
/// A function passes if it ran, whatever it made of the event: what is not there, may not be invoked or
/// is not reached does not serve. A throttled function passes too. As of any health check, a new
/// endpoint gets no request before it has passed, so that it is warm when it gets its first.
///
/// Each time is an invocation **that costs money**. Lambda keeps an idle environment for some minutes and
/// promises nothing:
///
/// ```
/// use std::time::Duration;
/// use tower_lb::{health::HealthCheck, lambda::WarmUp};
///
/// // The functions see what a rule of EventBridge sends them on schedule.
/// let warm = WarmUp::scheduled("arn:aws:events:eu-west-1:123456789012:rule/warm-up");
/// let every = Duration::from_secs(240);
/// let check = HealthCheck::new(warm.environments(3))
///     .interval(every)
///     .idle_interval(every)
///     .timeout(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
pub struct WarmUp {
    event: Event,
    environments: u32,
}

#[derive(Clone, Debug)]
enum Event {
    Scheduled { rule: Box<str> },
    Own(Bytes),
}

impl WarmUp {
    /// By an event of yours: JSON, which the function knows to do nothing for.
    pub fn event(event: impl Into<Bytes>) -> Self {
        Self { event: Event::Own(event.into()), environments: 1 }
    }

    /// By the event that a rule of EventBridge sends on schedule: its `source` is `aws.events`, its
    /// `detail-type` is `Scheduled Event`. Account and region are those of the rule's ARN.
    pub fn scheduled(rule: impl Into<Box<str>>) -> Self {
        Self { event: Event::Scheduled { rule: rule.into() }, environments: 1 }
    }

    /// How many environments are kept warm, by so many invocations at once. For each of them to get an
    /// environment of its own, the function must take a moment for the event. Default 1; 0 counts as 1.
    #[must_use]
    pub fn environments(mut self, environments: u32) -> Self {
        self.environments = environments.max(1);
        self
    }

    fn payload(&self) -> Bytes {
        match &self.event {
            Event::Own(event) => event.clone(),
            Event::Scheduled { rule } => scheduled(rule, SystemTime::now()),
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

fn scheduled(rule: &str, now: SystemTime) -> Bytes {
    let part = |index| rule.split(':').nth(index).unwrap_or_default();
    let event = Scheduled {
        version: "0",
        id: uuid(),
        detail_type: "Scheduled Event",
        source: "aws.events",
        account: part(4),
        time: Utc::at(now).to_rfc3339(),
        region: part(3),
        resources: [rule],
        detail: Empty {},
    };
    // Strings in memory: it can't fail.
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
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn scheduled_events_are_those_of_eventbridge() {
        let rule = "arn:aws:events:eu-west-1:123456789012:rule/warm-up";
        let now = UNIX_EPOCH + Duration::from_secs(1_584_039_838);
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
