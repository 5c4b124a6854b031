use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_lambda::{
    Client, operation::get_provisioned_concurrency_config::GetProvisionedConcurrencyConfigOutput,
    types::ProvisionedConcurrencyStatusEnum as Status,
};
use futures_core::{Stream, future::BoxFuture, ready};
use futures_util::future::join_all;
use tokio::time::Sleep;

use super::{error::invoke_error, schedule::Schedule};
use crate::{
    discover::Update,
    endpoint::{Endpoint, Health, Locality},
    lambda::{FunctionName, InvalidName, InvokeError, NameProblem, Qualifier},
};

/// Aliases or versions as endpoints, weighted by the concurrency that is provisioned for them: a
/// source for discovery.
///
/// An endpoint's weight is the number of environments that are available to it, so that those with
/// more get more; it is [`Degraded`](Health::Degraded) while fewer are available than were
/// asked for. One without provisioned concurrency has weight 1. All are asked for every minute; what
/// can't be had stays as it was last known.
pub struct Provisioned {
    targets: Vec<Target>,
    schedule: Schedule,
    state: State,
    ready: VecDeque<Result<Vec<(FunctionName, Endpoint<FunctionName>)>, InvokeError>>,
}

struct Target {
    client: Client,
    endpoint: Endpoint<FunctionName>,
}

type Answer = Result<Option<GetProvisionedConcurrencyConfigOutput>, InvokeError>;

enum State {
    Asking(BoxFuture<'static, Vec<Answer>>),
    Waiting(Pin<Box<Sleep>>),
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
                let mut endpoint = Endpoint::new(name);
                if let Some(region) = client.config().region() {
                    endpoint = endpoint.with_locality(Locality::new(region.as_ref(), ""));
                }
                Ok(Target { client, endpoint })
            }
            _ => Err(InvalidName::new(&name.to_string(), NameProblem::Unqualified)),
        };
        let targets = functions.into_iter().map(target).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            state: State::Asking(ask(&targets)),
            targets,
            schedule: Schedule::every(Duration::from_secs(60)),
            ready: VecDeque::new(),
        })
    }

    /// Sets how often all are asked for. Default 60 s; no less than 1 s. The control plane takes 15
    /// requests a second from all of an account together.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.schedule = Schedule::every(period);
        self
    }

    /// Takes the answers in; true if there were only good ones.
    fn learn(&mut self, answers: Vec<Answer>) -> bool {
        let mut errors = VecDeque::new();
        for (target, answer) in self.targets.iter_mut().zip(answers) {
            match answer {
                Ok(answer) => {
                    let (weight, health) = judge(answer.as_ref());
                    let endpoint = target.endpoint.clone();
                    target.endpoint = endpoint.with_weight(weight).with_health(health);
                }
                Err(error) => errors.push_back(Err(error)),
            }
        }
        let all_good = errors.is_empty();
        let named = |target: &Target| (target.endpoint.target().clone(), target.endpoint.clone());
        self.ready.push_back(Ok(self.targets.iter().map(named).collect()));
        self.ready.extend(errors);
        all_good
    }
}

fn ask(targets: &[Target]) -> BoxFuture<'static, Vec<Answer>> {
    let requests = targets.iter().map(|Target { client, endpoint }| {
        let name = endpoint.target();
        let request = client
            .get_provisioned_concurrency_config()
            .function_name(name.unqualified())
            .set_qualifier(name.qualifier().map(ToString::to_string));
        async move {
            match request.send().await {
                Ok(answer) => Ok(Some(answer)),
                Err(error) => match error.as_service_error() {
                    Some(error)
                        if error.is_provisioned_concurrency_config_not_found_exception() =>
                    {
                        Ok(None)
                    }
                    _ => Err(invoke_error(error)),
                },
            }
        }
    });
    Box::pin(join_all(requests))
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

impl Stream for Provisioned {
    type Item = Result<Update<FunctionName, FunctionName>, InvokeError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Poll::Ready(Some(ready.map(Update::Reset)));
            }
            match &mut self.state {
                State::Waiting(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    self.state = State::Asking(ask(&self.targets));
                }
                State::Asking(answers) => {
                    let answers = ready!(answers.as_mut().poll(cx));
                    let succeeded = self.learn(answers);
                    self.state = State::Waiting(self.schedule.next(succeeded));
                }
            }
        }
    }
}

impl fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.targets.iter().map(|target| target.endpoint.target());
        f.debug_struct("Provisioned")
            .field("functions", &names.collect::<Vec<_>>())
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
