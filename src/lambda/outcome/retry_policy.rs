use std::error::Error as StdError;

use crate::{
    endpoint::EndpointId,
    lambda::{Execution, InvocationStatus, Invoked, InvokedStream, Remedy, RetryAdvice},
    outcome::Outcome,
    retry::{RetryDecision, RetryPolicy},
};

/// Decides by [`RetryAdvice`], for retries, hedges and failover.
///
/// An invocation that the service rejected before it ran may always be retried, within the budget.
/// One whose function ran, or may have run, is retried only if it is
/// [`idempotent`](crate::lambda::Invocation::idempotent). Where only waiting helps, for example
/// because the caller's own rate is too high, nothing is retried.
impl RetryPolicy<Invoked> for InvocationStatus {
    fn decide(&self, result: Result<&Invoked, &(dyn StdError + 'static)>) -> RetryDecision {
        match result {
            Err(error) => of_error(error),
            Ok(invoked) if invoked.is_function_error() => {
                RetryDecision::Failed(Outcome::ApplicationError)
            }
            Ok(_) => RetryDecision::Final,
        }
    }

    fn endpoint<'r>(&self, response: &'r Invoked) -> Option<&'r EndpointId> {
        response.endpoint_id()
    }
}

/// A stream that has begun is final: it belongs to the caller.
impl RetryPolicy<InvokedStream> for InvocationStatus {
    fn decide(&self, result: Result<&InvokedStream, &(dyn StdError + 'static)>) -> RetryDecision {
        result.map_or_else(of_error, |_| RetryDecision::Final)
    }
}

fn of_error(error: &(dyn StdError + 'static)) -> RetryDecision {
    let (advice, outcome) = (RetryAdvice::of_error(error), InvocationStatus::of_error(error));
    match (advice.remedy(), advice.execution()) {
        (Remedy::Wait | Remedy::Nothing, _) => RetryDecision::Final,
        (_, Execution::MayHaveRun | Execution::Ran) => RetryDecision::Failed(outcome),
        (_, Execution::DidNotRun) if outcome == Outcome::TransportFailure => RetryDecision::Unsent,
        (_, Execution::DidNotRun) => RetryDecision::Refused(outcome),
    }
}
