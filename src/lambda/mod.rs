//! AWS Lambda functions as endpoints: functions, aliases, versions and regions.
//!
//! A [`Function`] is a `Service` from [`Invocation`] to [`Invoked`], for any balancer. It sends by
//! an [`Invoke`]: the AWS SDK's client with feature `aws`, or another transport. [`HttpFunction`]
//! serves HTTP, with the events of an Application Load Balancer ([`AlbEvent`]) or of a function URL
//! ([`UrlEvent`]), so that functions need no change.
//!
//! [`Builder::lambda`](crate::balance::Builder::lambda) has the settings of a balancer of
//! functions. [`InvocationStatus`] classifies results, for the balancer's figures and for retries,
//! hedges and failover around it. [`RetryAdvice`] says what may be retried, and where.
//! [`Throttles`] keeps requests away from functions and regions without capacity, and
//! [`BillingLayer`] adds up what invocations cost.
//!
//! Every strategy works with functions. Some are made for them:
//!
//! | strategy | picks | use it when |
//! |---|---|---|
//! | [`Pack`] | where an environment is warm | cold starts hurt, and traffic is thin |
//! | [`CostAware`] | where a request costs least | prices differ |
//! | [`Aimd`] | like another strategy, within limits that follow throttles | functions throttle |
//!
//! A function's health is known from requests. Checks that invoke it cost money: [`EventCheck`]
//! sends the event of a load balancer's check, and [`WarmUp`] keeps environments warm. [`DryRun`]
//! is free and checks whether the function can be invoked. All are [checks](crate::health::Check)
//! for [`health_checked`](crate::health::HealthExt::health_checked).
//!
//! ```
//! use std::future::ready;
//! use tower::ServiceExt;
//! use tower_lb::{
//!     balance::Builder,
//!     discover::DiscoverExt,
//!     lambda::{self, Function, FunctionName, Invocation, Invoked},
//!     strategy::RoundRobin,
//! };
//!
//! # tokio_test::block_on(async {
//! // Two versions of a function. `invoke` stands for a client of the SDK.
//! let invoke = |_: &FunctionName, invocation: Invocation| {
//!     ready(Ok(Invoked::new(200, invocation.into_payload())))
//! };
//! let functions =
//!     lambda::functions(["orders:1", "orders:2"])?.connect(Function::connector(invoke));
//! let balancer = Builder::lambda().spawn(RoundRobin::new(), functions)?;
//!
//! let invoked = balancer.oneshot(Invocation::from(r#"{"order": 7}"#)).await?;
//! assert_eq!(invoked.payload(), r#"{"order": 7}"#);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

// `invoke` has the services and what they exchange, `event` HTTP in front of them, `outcome` what a
// result means. `throttle`, `strategy` and `check` are for balancers, `billing` reads what
// they cost; `aws` has what needs the SDK.
#[cfg(feature = "aws")]
pub mod aws;
mod billing;
mod check;
mod event;
mod invoke;
mod outcome;
mod strategy;
mod throttle;

pub use self::{
    billing::{Billing, BillingFuture, BillingLayer, BillingStatus},
    check::{DryRun, EventCheck, WarmUp},
    event::{
        AlbEvent, EventFormat, FunctionResponse, HttpBody, HttpFunction, HttpFunctionFuture,
        InvalidResponse, UnsupportedRequest, UrlEvent,
    },
    invoke::{
        Function, FunctionError, FunctionErrorKind, FunctionFuture, FunctionName, Invocation,
        InvocationType, Invoke, InvokeError, InvokeStreaming, Invoked, InvokedBody, InvokedStream,
        PayloadLimits, Qualifier, ServiceError, StreamingFunction, functions,
    },
    outcome::{Execution, InvocationStatus, Remedy, RetryAdvice, UntilResponse, UntilStreamEnd},
    strategy::{Aimd, CostAware, Pack, Price},
    throttle::{
        AvoidThrottled, Shed, ShedFuture, ShedLayer, Throttle, ThrottleCounts, ThrottleReason,
        ThrottleScope, Throttles, ThrottlesStatus, TrackThrottles,
    },
};
