use aws_sdk_lambda::{Client, operation::get_alias::GetAliasOutput};

use super::{error::invoke_error, locality};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::Endpoint,
    lambda::{FunctionName, InvalidName, NameProblem, Qualifier},
};

/// The versions that an alias points to, as endpoints, with the alias's weights as theirs.
///
/// Lambda tosses a coin for each invocation of a weighted alias: of 100 invocations at 5 %, anything
/// from 1 to 10 may run the new version. A balancer over the versions themselves under
/// [`RoundRobin`](crate::strategy::RoundRobin) sends it 5 in each 100, and tells the
/// versions' figures apart.
///
/// The alias is asked for every 30 s, so that a shift is followed; the control plane takes 15 requests
/// a second from all of an account together. While it fails, the last answer holds.
#[derive(Clone, Debug)]
pub struct AliasVersions {
    client: Client,
    alias: FunctionName,
    schedule: Schedule,
}

impl AliasVersions {
    /// The versions of this alias, `orders:live` for example.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the name's qualifier is no alias.
    pub fn new(client: Client, alias: FunctionName) -> Result<Self, InvalidName> {
        match alias.qualifier() {
            Some(Qualifier::Alias(_)) => Ok(Self { client, alias, schedule: Schedule::new() }),
            _ => Err(InvalidName::new(&alias.to_string(), NameProblem::Alias)),
        }
    }

    /// When the alias is asked for. Default [`Schedule::new`]: every 30 s.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The versions, followed as they change: a source for discovery.
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
        let answer = request.set_name(name).send().await.map_err(invoke_error)?;
        Ok(Fetched::new(self.versions(answer)))
    }

    /// The versions with their weights, in ten-thousandths.
    fn versions(self, answer: GetAliasOutput) -> Vec<(FunctionName, Endpoint<FunctionName>)> {
        let additional =
            answer.routing_config.and_then(|routing| routing.additional_version_weights);
        let additional = additional.into_iter().flatten();
        let mut weights: Vec<_> =
            additional.map(|(version, weight)| (version, parts(weight))).collect();
        // They come in no order; one that changes would be news.
        weights.sort_unstable();
        let left = parts(1.0).saturating_sub(weights.iter().map(|(_, weight)| weight).sum());
        weights.extend(answer.function_version.map(|version| (version, left)));
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
