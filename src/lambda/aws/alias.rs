use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_lambda::{Client, operation::get_alias::GetAliasOutput};
use futures_core::{Stream, future::BoxFuture, ready};
use tokio::time::Sleep;

use super::{error::invoke_error, schedule::Schedule};
use crate::{
    discover::Update,
    endpoint::{Endpoint, Locality},
    lambda::{FunctionName, InvalidName, InvokeError, NameProblem, Qualifier},
};

/// The versions that an alias points to, as endpoints, with the alias's weights as theirs: a
/// source for discovery.
///
/// Lambda tosses a coin for each invocation of a weighted alias: of 100 invocations at 5 %, anything
/// from 1 to 10 may run the new version. A balancer over the versions themselves under
/// [`RoundRobin`](crate::strategy::RoundRobin) sends it 5 in each 100, and tells the
/// versions' figures apart.
///
/// The alias is asked for every 30 s, so that a shift is followed; the control plane takes 15 requests
/// a second from all of an account together. While it fails, the last answer holds, and it
/// is asked again after 1 s, 2 s, and so on up to the period.
pub struct AliasVersions {
    client: Client,
    alias: FunctionName,
    schedule: Schedule,
    state: State,
}

enum State {
    Asking(BoxFuture<'static, Result<GetAliasOutput, InvokeError>>),
    Waiting(Pin<Box<Sleep>>),
}

impl AliasVersions {
    /// The versions of this alias, `orders:live` for example.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] if the name's qualifier is no alias.
    pub fn new(client: Client, alias: FunctionName) -> Result<Self, InvalidName> {
        let Some(Qualifier::Alias(_)) = alias.qualifier() else {
            return Err(InvalidName::new(&alias.to_string(), NameProblem::Alias));
        };
        let state = State::Asking(ask(&client, &alias));
        Ok(Self { client, alias, schedule: Schedule::every(Duration::from_secs(30)), state })
    }

    /// Sets how often the alias is asked for. Default 30 s; no less than 1 s.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.schedule = Schedule::every(period);
        self
    }

    /// The versions with their weights, in ten-thousandths.
    fn endpoints(&self, answer: GetAliasOutput) -> Vec<(FunctionName, Endpoint<FunctionName>)> {
        let additional =
            answer.routing_config.and_then(|routing| routing.additional_version_weights);
        let additional = additional.into_iter().flatten();
        let mut weights: Vec<_> =
            additional.map(|(version, weight)| (version, parts(weight))).collect();
        let left = parts(1.0).saturating_sub(weights.iter().map(|(_, weight)| weight).sum());
        weights.extend(answer.function_version.map(|version| (version, left)));
        let region = self.client.config().region();
        let endpoint = |(version, weight): (String, u32)| {
            let name = self.alias.clone().with_qualifier(version.parse().ok()?);
            let mut endpoint = Endpoint::new(name.clone()).with_weight(weight);
            if let Some(region) = region {
                endpoint = endpoint.with_locality(Locality::new(region.as_ref(), ""));
            }
            Some((name, endpoint))
        };
        weights.into_iter().filter_map(endpoint).collect()
    }
}

fn parts(share: f64) -> u32 {
    (share.clamp(0.0, 1.0) * 10_000.0).round() as u32
}

fn ask(
    client: &Client,
    alias: &FunctionName,
) -> BoxFuture<'static, Result<GetAliasOutput, InvokeError>> {
    let name = alias.qualifier().map(ToString::to_string);
    let request = client.get_alias().function_name(alias.unqualified()).set_name(name);
    Box::pin(async move { request.send().await.map_err(invoke_error) })
}

impl Stream for AliasVersions {
    type Item = Result<Update<FunctionName, FunctionName>, InvokeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match &mut self.state {
                State::Waiting(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    self.state = State::Asking(ask(&self.client, &self.alias));
                }
                State::Asking(answer) => {
                    let answer = ready!(answer.as_mut().poll(cx));
                    self.state = State::Waiting(self.schedule.next(answer.is_ok()));
                    let update = answer.map(|answer| Update::Reset(self.endpoints(answer)));
                    return Poll::Ready(Some(update));
                }
            }
        }
    }
}

impl fmt::Debug for AliasVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AliasVersions")
            .field("alias", &self.alias)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
