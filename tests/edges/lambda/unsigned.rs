//! Invocations by the AWS SDK that can't be signed: nothing is sent, nobody is blamed, nothing is tried again.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_lambda::{
    Client, Config,
    config::{BehaviorVersion, IntoShared, Region, retry::RetryConfig, timeout::TimeoutConfig},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, http_client_fn},
    orchestrator::HttpRequest,
};
use tower::{Layer, ServiceExt};
use tower_lb::{
    balance::Builder,
    discover::DiscoverExt,
    lambda::{
        self, Execution, Function, Invocation, InvocationStatus, InvokeError, Remedy, RetryAdvice,
        aws::Sdk,
    },
    retry::RetryLayer,
    strategy::RoundRobin,
};

/// Has no credentials, or keeps who asks waiting.
#[derive(Clone, Debug, Default)]
struct Provider {
    asked: Arc<AtomicU32>,
    hangs: bool,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.hangs {
            true => future::ProvideCredentials::new(std::future::pending()),
            false => future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("none"))),
        }
    }
}

#[derive(Debug)]
struct Nobody;

impl HttpConnector for Nobody {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        panic!("{} is not to be sent", request.uri())
    }
}

fn sdk(provider: Option<Provider>) -> Sdk {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(2)).build())
        .http_client(http_client_fn(|_, _| Nobody.into_shared()));
    if let Some(provider) = provider {
        config = config.credentials_provider(provider);
    }
    Sdk::new(Client::from_conf(config.build()))
}

#[tokio::test(start_paused = true)]
async fn without_credentials_an_invocation_is_not_sent() {
    let hangs = Provider { hangs: true, ..Provider::default() };
    for provider in [None, Some(Provider::default()), Some(hangs)] {
        let function = Function::new(sdk(provider), "f".parse().unwrap());
        let error = function.oneshot(Invocation::default()).await.unwrap_err();
        assert!(matches!(error, InvokeError::Unsigned(_)), "{error:?}");
        let advice = RetryAdvice::of_error(&error);
        assert_eq!((advice.execution(), advice.remedy()), (Execution::DidNotRun, Remedy::Nothing));
    }
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_is_blamed_and_none_is_asked_again() {
    let provider = Provider::default();
    let names = lambda::functions(["a", "b"]).unwrap();
    let source = names.connect(Function::connector(sdk(Some(provider.clone()))));
    let balancer = Builder::lambda().spawn(RoundRobin::new(), source).unwrap();
    let retry = RetryLayer::builder(InvocationStatus).attempts(5).build().unwrap();
    let invocation = Invocation::default().idempotent();
    retry.layer(balancer.clone()).oneshot(invocation).await.unwrap_err();
    assert_eq!(provider.asked.load(Ordering::Relaxed), 1);
    let outcomes = balancer.status().endpoints.into_iter().map(|endpoint| endpoint.outcomes);
    let (cancelled, failed) = outcomes.fold((0, 0), |(cancelled, failed), outcomes| {
        (cancelled + outcomes.cancelled, failed + outcomes.failures())
    });
    assert_eq!((cancelled, failed), (1, 0));
}
