//! Invocations of functions, independent of a transport.

mod function;
mod function_name;
mod invocation;
mod invoke_error;
mod invoked;

pub use self::{
    function::{Function, FunctionFuture, Invoke, InvokeStreaming, StreamingFunction},
    function_name::{FunctionName, Qualifier, functions},
    invocation::{Invocation, InvocationType, PayloadLimits},
    invoke_error::{InvokeError, ServiceError},
    invoked::{FunctionError, FunctionErrorKind, Invoked, InvokedBody, InvokedStream},
};
