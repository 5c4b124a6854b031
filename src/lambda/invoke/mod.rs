//! Invocations of functions, independent of a transport.
//!
//! `function` has the services: they send an `Invocation` by an `Invoke`, and return an `Invoked`,
//! an `InvokedStream` or an `InvokeError`. `function_name` and `qualifier` parse names; `functions`
//! makes a source of endpoints of them.

mod function;
mod function_name;
mod functions;
mod invocation;
#[allow(clippy::module_inception)]
mod invoke;
mod invoke_error;
mod invoked;
mod invoked_stream;
mod payload_limits;
mod qualifier;

pub use self::{
    function::{Function, FunctionFuture, StreamingFunction},
    function_name::FunctionName,
    functions::functions,
    invocation::{Invocation, InvocationType},
    invoke::{Invoke, InvokeStreaming},
    invoke_error::{InvokeError, ServiceError},
    invoked::{FunctionError, FunctionErrorKind, Invoked},
    invoked_stream::{InvokedBody, InvokedStream},
    payload_limits::PayloadLimits,
    qualifier::Qualifier,
};
