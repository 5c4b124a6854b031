use std::error::Error as StdError;

use crate::{
    endpoint::Instance,
    lambda::{Advice, Execution, InvocationStatus, Invoked, InvokedStream, Remedy},
    outcome::Outcome,
    retry::{Judge, Verdict},
};

/// What [`Advice`] says, for retries, hedges and failover.
///
/// An invocation that the service turned away undone may be sent again whatever it does, within the
/// budget. One whose function ran, or may have run, is sent again only if it is
/// [`idempotent`](crate::lambda::Invocation::idempotent). Where to wait is all that helps, as when the caller
/// itself is too fast, nothing is sent again.
impl Judge<Invoked> for InvocationStatus {
    fn judge(&self, result: Result<&Invoked, &(dyn StdError + 'static)>) -> Verdict {
        match result {
            Err(error) => of_error(error),
            Ok(invoked) if invoked.is_function_error() => {
                Verdict::Failed(Outcome::ApplicationError)
            }
            Ok(_) => Verdict::Final,
        }
    }

    fn endpoint<'r>(&self, response: &'r Invoked) -> Option<&'r Instance> {
        response.instance()
    }
}

/// A stream that has begun is for the caller.
impl Judge<InvokedStream> for InvocationStatus {
    fn judge(&self, result: Result<&InvokedStream, &(dyn StdError + 'static)>) -> Verdict {
        result.map_or_else(of_error, |_| Verdict::Final)
    }
}

fn of_error(error: &(dyn StdError + 'static)) -> Verdict {
    let (advice, outcome) = (Advice::of_error(error), InvocationStatus::of_error(error));
    match (advice.remedy(), advice.execution()) {
        (Remedy::Wait | Remedy::Nothing, _) => Verdict::Final,
        (_, Execution::MayHaveRun | Execution::Ran) => Verdict::Failed(outcome),
        (_, Execution::DidNotRun) if outcome == Outcome::TransportFailure => Verdict::Unsent,
        (_, Execution::DidNotRun) => Verdict::Refused(outcome),
    }
}
