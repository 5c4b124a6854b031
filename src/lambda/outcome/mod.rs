pub(super) mod advice;
mod invocation_status;
mod retry_policy;
mod until_answer;
mod until_stream_end;

pub use self::{
    advice::{Advice, Execution, Remedy},
    invocation_status::InvocationStatus,
    until_answer::{UntilAnswer, builder},
    until_stream_end::UntilStreamEnd,
};
