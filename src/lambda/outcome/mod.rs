//! How an invocation ended, and what that means for figures and retries.
//!
//! `invocation_status` classifies results; `retry_advice` says whether the function ran and what
//! may help, which `retry_policy` turns into decisions. `until_response` and `until_stream_end` are
//! the trackers that record outcomes in a balancer.

mod invocation_status;
pub(super) mod retry_advice;
mod retry_policy;
mod until_response;
mod until_stream_end;

pub use self::{
    invocation_status::InvocationStatus,
    retry_advice::{Execution, Remedy, RetryAdvice},
    until_response::UntilResponse,
    until_stream_end::UntilStreamEnd,
};
