//! How an invocation ended, and what that means for figures and retries.

mod invocation_status;
mod retry_advice;
mod track;

pub use self::{
    invocation_status::InvocationStatus,
    retry_advice::{Execution, Remedy, RetryAdvice},
    track::{UntilResponse, UntilStreamEnd},
};
