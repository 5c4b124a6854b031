mod invocation_status;
pub(super) mod retry_advice;
mod retry_policy;
mod until_response;
mod until_stream_end;

pub use self::{
    invocation_status::InvocationStatus,
    retry_advice::{Execution, Remedy, RetryAdvice},
    until_response::{UntilResponse, builder},
    until_stream_end::UntilStreamEnd,
};
