use aws_sdk_lambda::{Client, operation::get_alias::GetAliasOutput};

use super::{control_plane::locality, error::invoke_error};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::Endpoint,
    lambda::{FunctionName, Qualifier},
};

/// A source of the versions that an alias points to, with the weights of the alias.
///
/// Lambda picks a version at random for each invocation of a weighted alias: of 100 invocations at
/// 5 %, anything from 1 to 10 may run the new version. A balancer over the versions under
/// [`RoundRobin`](crate::strategy::RoundRobin) sends it exactly 5 in each 100, and has separate
/// figures for each version.
///
/// The alias is fetched every 30 s, so shifts are followed. The control plane accepts 15 requests a
/// second from one account in total. While a fetch fails, the last result stays in use.
#[derive(Clone, Debug)]
#[must_use]
pub struct AliasVersions {
    client: Client,
    alias: FunctionName,
    schedule: Schedule,
}

impl AliasVersions {
    /// Creates a source of the versions of `alias`, such as `orders:live`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the qualifier of `alias` is not an alias.
    pub fn new(client: Client, alias: FunctionName) -> Result<Self, ConfigError> {
        match alias.qualifier() {
            Some(Qualifier::Alias(_)) => Ok(Self { client, alias, schedule: Schedule::new() }),
            _ => Err(ConfigError::new("alias", "an alias, as in orders:live").with_value(alias)),
        }
    }

    /// Sets when the alias is fetched. Default [`Schedule::new`]: every 30 s.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Returns the source of endpoints, which follows changes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn endpoints(self) -> Result<Refresh<FunctionName, FunctionName>, ConfigError> {
        let name = format!("alias {}", self.alias);
        refresh(name, self.schedule.clone(), move || {
            let alias = self.clone();
            async move { alias.fetch().await }
        })
    }

    async fn fetch(self) -> Result<Fetched<FunctionName, FunctionName>, BoxError> {
        let name = self.alias.qualifier().map(ToString::to_string);
        let request = self.client.get_alias().function_name(self.alias.unqualified());
        let output = request.set_name(name).send().await.map_err(invoke_error)?;
        Ok(Fetched::new(self.versions(output)))
    }

    /// Returns the versions with their weights, in ten-thousandths.
    fn versions(self, output: GetAliasOutput) -> Vec<(FunctionName, Endpoint<FunctionName>)> {
        let additional =
            output.routing_config.and_then(|routing| routing.additional_version_weights);
        let additional = additional.into_iter().flatten();
        let mut weights: Vec<_> =
            additional.map(|(version, weight)| (version, parts(weight))).collect();
        // The order is arbitrary, and a different one would count as a change.
        weights.sort_unstable();
        let left = parts(1.0).saturating_sub(weights.iter().map(|(_, weight)| weight).sum());
        weights.extend(output.function_version.map(|version| (version, left)));
        let endpoint = |(version, weight): (String, u32)| {
            let name = self.alias.clone().with_qualifier(version.parse().ok()?);
            let endpoint = Endpoint::new(name.clone()).with_weight(weight);
            Some((name, locality(endpoint, &self.client)))
        };
        weights.into_iter().filter_map(endpoint).collect()
    }
}

fn parts(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() as u32
}
