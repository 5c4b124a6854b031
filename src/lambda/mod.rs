//! AWS Lambda functions as endpoints: functions, aliases, versions and regions.
//!
//! A [`Function`] is a `Service` from [`Invocation`] to [`Invoked`], which a balancer takes like any
//! other. How it gets there is up to an [`Invoke`]: the AWS SDK's client with feature `aws`, or
//! another. [`Http`] puts HTTP in front, with the events that an Application Load Balancer
//! ([`AlbEvent`]) or a function URL ([`UrlEvent`]) sends, so that functions need no change.
//!
//! [`builder`] has the settings of a balancer of functions. [`InvocationStatus`] judges answers, for the
//! balancer's figures and for retries, hedges and failover around it; [`Advice`] tells what may be tried again, and where.
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

mod advice;
mod aimd;
mod alb_event;
mod answer;
mod answer_json;
#[cfg(feature = "aws")]
pub mod aws;
mod concurrency;
mod cost_aware;
mod domain;
mod dry_run;
mod duration;
mod event;
mod event_check;
mod event_json;
mod failure;
mod function;
mod functions;
mod http;
mod http_body;
mod invalid_name;
mod invocation;
mod invoke;
mod invoke_error;
mod invoked;
mod invoked_stream;
mod json_string;
mod judge;
mod limits;
mod malformed;
mod name;
mod pack;
mod pauses;
mod prelude;
mod price;
mod probe;
mod qualifier;
mod shed;
mod shedding;
mod status;
mod steer;
mod throttle;
mod throttles;
mod track_throttles;
mod until_answer;
mod until_stream_end;
mod url_event;
mod utc;
mod uuid;
mod warm_up;
mod warmth;

pub use self::{
    advice::{Advice, Execution, Remedy},
    aimd::{Aimd, AimdPicker},
    alb_event::AlbEvent,
    cost_aware::{CostAware, CostAwarePicker},
    dry_run::DryRun,
    event::EventFormat,
    event_check::EventCheck,
    function::{Function, FunctionFuture, StreamingFunction},
    functions::functions,
    http::{Http, HttpAnswer, HttpFuture},
    http_body::HttpBody,
    invalid_name::{InvalidName, NameProblem},
    invocation::{Invocation, InvocationType},
    invoke::{Invoke, InvokeStreaming},
    invoke_error::{InvokeError, Refusal},
    invoked::{FunctionError, FunctionErrorKind, Invoked},
    invoked_stream::{AnswerBody, InvokedStream},
    limits::Limits,
    malformed::{MalformedAnswer, Unspeakable},
    name::FunctionName,
    pack::{Pack, PackPicker},
    price::Price,
    qualifier::Qualifier,
    shed::{Shed, ShedFuture, ShedLayer},
    status::InvocationStatus,
    steer::Steer,
    throttle::{Throttle, ThrottleReason, ThrottleScope},
    throttles::Throttles,
    track_throttles::TrackThrottles,
    until_answer::{UntilAnswer, builder},
    until_stream_end::UntilStreamEnd,
    url_event::UrlEvent,
    warm_up::WarmUp,
};
