use std::sync::Arc;

use aws_sdk_lambda::{
    Client, operation::get_provisioned_concurrency_config::GetProvisionedConcurrencyConfigOutput,
    types::ProvisionedConcurrencyStatusEnum as Status,
};
use tokio::sync::Mutex;

use super::{
    control_plane::{self, Pace, locality},
    error::invoke_error,
};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::{Endpoint, Health},
    escape::Escaped,
    lambda::{FunctionName, InvokeError, Qualifier},
};

/// A source of aliases or versions, weighted by the concurrency that is provisioned for them.
///
/// The weight of an endpoint is its number of available environments. It is
/// [`Degraded`](Health::Degraded) while fewer are available than requested. An endpoint without
/// provisioned concurrency has weight 1. All are fetched every minute, one after the other, five a
/// second. If a fetch fails, its endpoint stays unchanged and a warning is logged; if all fail, no
/// endpoint changes.
#[derive(Debug)]
#[must_use]
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
    /// Creates a source of these aliases or versions, each with the client of its region.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a name without an alias or a version.
    pub fn new(
        functions: impl IntoIterator<Item = (Client, FunctionName)>,
    ) -> Result<Self, ConfigError> {
        let target = |(client, name): (Client, FunctionName)| match name.qualifier() {
            Some(Qualifier::Alias(_) | Qualifier::Version(_)) => {
                let endpoint = locality(Endpoint::new(name), &client);
                Ok(Target { client, endpoint })
            }
            _ => Err(ConfigError::new("functions", "an alias or a version, as in orders:live")
                .with_value(name)),
        };
        let targets = functions.into_iter().map(target).collect::<Result<Vec<_>, _>>()?;
        let schedule = control_plane::every_minute();
        Ok(Self { targets, schedule, rate: control_plane::DEFAULT_RATE })
    }

    /// Sets when all are fetched. Default [`Schedule::new`] with an interval of 60 s and without a
    /// timeout for the whole; the client's timeout bounds each request.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets how many requests are sent per second, at most. Default 5. The control plane accepts 15
    /// requests a second from one account in total.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the rate is 0.
    pub fn rate(mut self, per_second: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("rate", per_second.into())?;
        self.rate = per_second;
        Ok(self)
    }

    /// Returns the source of endpoints, which follows changes.
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
        pace.wait_turn().await;
        match fetch_config(target).await {
            Ok(config) => {
                let (weight, health) = weight_and_health(config.as_ref());
                let endpoint = target.endpoint.clone();
                target.endpoint = endpoint.with_weight(weight).with_health(health);
            }
            Err(error) => {
                let function = target.endpoint.target();
                tracing::warn!(
                    %function,
                    error = %Escaped(&error),
                    "provisioned concurrency could not be fetched"
                );
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

async fn fetch_config(
    target: &Target,
) -> Result<Option<GetProvisionedConcurrencyConfigOutput>, InvokeError> {
    let name = target.endpoint.target();
    let request = target.client.get_provisioned_concurrency_config();
    let request = request.function_name(name.unqualified());
    let request = request.set_qualifier(name.qualifier().map(ToString::to_string));
    match request.send().await {
        Ok(config) => Ok(Some(config)),
        Err(error) => match error.as_service_error() {
            Some(error) if error.is_provisioned_concurrency_config_not_found_exception() => {
                Ok(None)
            }
            _ => Err(invoke_error(error)),
        },
    }
}

fn weight_and_health(config: Option<&GetProvisionedConcurrencyConfigOutput>) -> (u32, Health) {
    let Some(config) = config else { return (1, Health::Healthy) };
    let available = config.available_provisioned_concurrent_executions().unwrap_or_default();
    let requested = config.requested_provisioned_concurrent_executions().unwrap_or_default();
    let weight = u32::try_from(available).unwrap_or_default().max(1);
    let health = match config.status() {
        Some(Status::Failed) => {
            let reason = config.status_reason().unwrap_or("no reason given");
            Health::degraded(format!("provisioning failed: {reason}"))
        }
        _ if available < requested => {
            Health::degraded(format!("{available} of {requested} environments provisioned"))
        }
        _ => Health::Healthy,
    };
    (weight, health)
}
