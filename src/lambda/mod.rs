//! AWS Lambda functions as endpoints: functions, aliases, versions and regions.
//!
//! A [`Function`] is a `Service` from [`Invocation`] to [`Invoked`], which a balancer takes like any
//! other. How it gets there is up to an [`Invoke`]: the AWS SDK's client with feature `aws`, or
//! another. [`HttpFunction`] puts HTTP in front, with the events that an Application Load Balancer
//! ([`AlbEvent`]) or a function URL ([`UrlEvent`]) sends, so that functions need no change.
//!
//! [`builder`] has the settings of a balancer of functions. [`InvocationStatus`] judges answers, for the
//! balancer's figures and for retries, hedges and failover around it; [`RetryAdvice`] tells what may be tried again, and where.
//! [`Throttles`] keeps requests from functions and regions that have no room.
//!
//! Every strategy works over functions. Some are made for them:
//!
//! | strategy | picks | use it when |
//! |---|---|---|
//! | [`Pack`] | where an environment is warm | cold starts hurt, and traffic is thin |
//! | [`CostAware`] | what costs least | prices differ |
//! | [`Aimd`] | as another does, within limits that follow throttles | functions throttle |
//!
//! What requests see is all that is known of a function's health, unless it is asked, which costs money:
//! [`EventCheck`] asks as a load balancer does, [`DryRun`] whether it could be invoked (for nothing), and
//! [`WarmUp`] keeps it warm. They are [checks](crate::health::Check) for
//! [`health_checked`](crate::health::HealthExt::health_checked).
//!
//! ```
//! use std::future::ready;
//! use tower::ServiceExt;
//! use tower_lb::{
//!     discover::DiscoverExt,
//!     lambda::{self, Function, FunctionName, Invocation, Invoked},
//!     strategy::RoundRobin,
//! };
//!
//! # tokio_test::block_on(async {
//! // Two versions of a function. `invoke` is to be a client of the SDK.
//! let invoke = |_: &FunctionName, invocation: Invocation| {
//!     ready(Ok(Invoked::new(200, invocation.into_payload())))
//! };
//! let functions =
//!     lambda::functions(["orders:1", "orders:2"])?.connect(Function::connector(invoke));
//! let balancer = lambda::builder().spawn(RoundRobin::new(), functions)?;
//!
//! let invoked = balancer.oneshot(Invocation::from(r#"{"order": 7}"#)).await?;
//! assert_eq!(invoked.payload(), r#"{"order": 7}"#);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

#[cfg(feature = "aws")]
pub mod aws;
mod check;
mod event;
mod invoke;
mod outcome;
mod strategy;
mod throttle;

pub use self::{
    check::{DryRun, EventCheck, WarmUp},
    event::{
        AlbEvent, EventFormat, FunctionResponse, HttpBody, HttpFunction, HttpFunctionFuture,
        InvalidResponse, UnsupportedRequest, UrlEvent,
    },
    invoke::{
        Function, FunctionError, FunctionErrorKind, FunctionFuture, FunctionName, InvalidName,
        Invocation, InvocationType, Invoke, InvokeError, InvokeStreaming, Invoked, InvokedBody,
        InvokedStream, NameProblem, PayloadLimits, Qualifier, ServiceError, StreamingFunction,
        functions,
    },
    outcome::{
        Execution, InvocationStatus, Remedy, RetryAdvice, UntilResponse, UntilStreamEnd, builder,
    },
    strategy::{Aimd, AimdPicker, CostAware, CostAwarePicker, Pack, PackPicker, Price},
    throttle::{
        AvoidThrottled, Shed, ShedFuture, ShedLayer, Throttle, ThrottleReason, ThrottleScope,
        Throttles, TrackThrottles,
    },
};
