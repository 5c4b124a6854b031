use std::sync::Arc;

use aws_sdk_lambda::{
    Client, operation::get_provisioned_concurrency_config::GetProvisionedConcurrencyConfigOutput,
    types::ProvisionedConcurrencyStatusEnum as Status,
};
use tokio::sync::Mutex;

use super::{
    error::invoke_error,
    locality,
    pace::{self, Pace},
};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::{Endpoint, Health},
    escape::Escaped,
    lambda::{FunctionName, InvalidName, InvokeError, NameProblem, Qualifier},
};

/// Aliases or versions as endpoints, weighted by the concurrency that is provisioned for them.
///
/// An endpoint's weight is the number of environments that are available to it, so that those with
/// more get more; it is [`Degraded`](Health::Degraded) while fewer are available than were
/// asked for. One without provisioned concurrency has weight 1. All are asked for every minute, one
/// after the other, five a second. One that can't be had stays as it was last known, with a
/// `tracing` event; if none can be had, no endpoint changes.
#[derive(Debug)]
pub struct Provisioned {
    targets: Vec<Target>,
    schedule: Schedule,
    rate: u32,
}

#[derive(Debug)]
struct Target {
    client: Client,
    endpoint: Endpoint<FunctionName>,
}

impl Provisioned {
    /// These aliases or versions, each with the client for its region.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for a name without an alias or version.
    pub fn new(
        functions: impl IntoIterator<Item = (Client, FunctionName)>,
    ) -> Result<Self, InvalidName> {
        let target = |(client, name): (Client, FunctionName)| match name.qualifier() {
            Some(Qualifier::Alias(_) | Qualifier::Version(_)) => {
                let endpoint = locality(Endpoint::new(name), &client);
                Ok(Target { client, endpoint })
            }
            _ => Err(InvalidName::new(&name.to_string(), NameProblem::Unqualified)),
        };
        let targets = functions.into_iter().map(target).collect::<Result<Vec<_>, _>>()?;
        let schedule = super::every_minute();
        Ok(Self { targets, schedule, rate: pace::USUAL })
    }

    /// When all are asked for. Default [`Schedule::new`] with an interval of 60 s, and no timeout for
    /// the whole: that is the client's.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How many are asked for in a second, at the most. Default 5; 0 counts as 1. The control plane
    /// takes 15 requests a second from all of an account together.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second;
        self
    }

    /// The aliases or versions, followed as they change: a source for discovery.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn endpoints(self) -> Result<Refresh<FunctionName, FunctionName>, ConfigError> {
        let known = Arc::new(Mutex::new((self.targets, Pace::new(self.rate))));
        refresh("provisioned concurrency", self.schedule, move || {
            let known = Arc::clone(&known);
            async move {
                let (targets, pace) = &mut *known.lock().await;
                fetch(targets, pace).await
            }
        })
    }
}

async fn fetch(
    targets: &mut [Target],
    pace: &mut Pace,
) -> Result<Fetched<FunctionName, FunctionName>, BoxError> {
    let (mut failures, mut last) = (0, None);
    for target in targets.iter_mut() {
        pace.turn().await;
        match ask(target).await {
            Ok(answer) => {
                let (weight, health) = judge(answer.as_ref());
                let endpoint = target.endpoint.clone();
                target.endpoint = endpoint.with_weight(weight).with_health(health);
            }
            Err(error) => {
                let function = target.endpoint.target();
                tracing::warn!(%function, error = %Escaped(&error), "provisioned concurrency is not to be had");
                (failures, last) = (failures + 1, Some(error));
            }
        }
    }
    match last {
        Some(error) if failures == targets.len() => Err(error.into()),
        _ => {
            let named =
                |target: &Target| (target.endpoint.target().clone(), target.endpoint.clone());
            Ok(Fetched::new(targets.iter().map(named)))
        }
    }
}

async fn ask(
    target: &Target,
) -> Result<Option<GetProvisionedConcurrencyConfigOutput>, InvokeError> {
    let name = target.endpoint.target();
    let request = target.client.get_provisioned_concurrency_config();
    let request = request.function_name(name.unqualified());
    let request = request.set_qualifier(name.qualifier().map(ToString::to_string));
    match request.send().await {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.as_service_error() {
            Some(error) if error.is_provisioned_concurrency_config_not_found_exception() => {
                Ok(None)
            }
            _ => Err(invoke_error(error)),
        },
    }
}

fn judge(answer: Option<&GetProvisionedConcurrencyConfigOutput>) -> (u32, Health) {
    let Some(answer) = answer else { return (1, Health::Healthy) };
    let available = answer.available_provisioned_concurrent_executions().unwrap_or_default();
    let requested = answer.requested_provisioned_concurrent_executions().unwrap_or_default();
    let weight = u32::try_from(available).unwrap_or_default().max(1);
    let health = match answer.status() {
        Some(Status::Failed) => {
            let reason = answer.status_reason().unwrap_or("no reason given");
            Health::degraded(format!("provisioning failed: {reason}"))
        }
        _ if available < requested => {
            Health::degraded(format!("{available} of {requested} environments provisioned"))
        }
        _ => Health::Healthy,
    };
    (weight, health)
}
