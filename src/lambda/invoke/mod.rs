mod function;
mod function_name;
mod functions;
mod invalid_name;
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
    invalid_name::{InvalidName, NameProblem},
    invocation::{Invocation, InvocationType},
    invoke::{Invoke, InvokeStreaming},
    invoke_error::{InvokeError, ServiceError},
    invoked::{FunctionError, FunctionErrorKind, Invoked},
    invoked_stream::{InvokedBody, InvokedStream},
    payload_limits::PayloadLimits,
    qualifier::Qualifier,
};
