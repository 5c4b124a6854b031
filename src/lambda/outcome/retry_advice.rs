use std::error::Error as StdError;

use crate::{
    lambda::{InvokeError, Invoked, ThrottleScope},
    limit::is_rejected,
    outcome::Outcome,
};

/// What is known about a failed invocation, and what may help. Retry policies build on it.
///
/// ```
/// use tower_lb::lambda::{RetryAdvice, InvokeError, ServiceError, Remedy};
///
/// let error = InvokeError::Service(Box::new(ServiceError::new(500, "ServiceException", "")));
/// let advice = RetryAdvice::of_error(&error);
/// assert_eq!(advice.remedy(), Remedy::Elsewhere);
/// assert!(!advice.may_retry(false), "the function may have run");
/// assert!(advice.may_retry(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAdvice {
    execution: Execution,
    remedy: Remedy,
}

/// Whether the function's code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// The code did not run: a retry is safe.
    DidNotRun,
    /// It is not known whether the code ran.
    MayHaveRun,
    /// The code ran, completely or partly.
    Ran,
}

/// What may help after a failed invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A retry, preferably at another function, alias or region.
    Elsewhere,
    /// A retry in another region or account: this one has no capacity.
    OtherRegion,
    /// Waiting: no target would accept the invocation now.
    Wait,
    /// Nothing: the invocation itself is invalid, or its credentials are missing.
    Nothing,
}

impl RetryAdvice {
    /// Returns advice about a response: only a function that failed calls for a retry.
    #[must_use]
    pub fn of(invoked: &Invoked) -> Option<Self> {
        let advice = Self { execution: Execution::Ran, remedy: Remedy::Elsewhere };
        invoked.is_function_error().then_some(advice)
    }

    /// Returns advice about an error: an [`InvokeError`], a balancer's own error, a limit's
    /// [`Rejected`](crate::limit::Rejected), or an error with one of these among its sources. For
    /// other errors it is not known whether the function ran.
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        judge(error).1
    }

    /// Returns whether the function's code ran.
    #[must_use]
    pub fn execution(self) -> Execution {
        self.execution
    }

    /// Returns what may help.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        self.remedy
    }

    /// Returns true if a retry is safe and may help: the remedy is another endpoint or region, and
    /// the function did not run or the invocation is `idempotent`.
    #[must_use]
    pub fn may_retry(self, idempotent: bool) -> bool {
        let helps = matches!(self.remedy, Remedy::Elsewhere | Remedy::OtherRegion);
        helps && (idempotent || self.execution == Execution::DidNotRun)
    }
}

/// Returns what an error says about the endpoint, and about a retry.
pub(super) fn judge(error: &(dyn StdError + 'static)) -> (Outcome, RetryAdvice) {
    use Execution::{DidNotRun, MayHaveRun, Ran};
    use Remedy::{Elsewhere, Nothing, OtherRegion, Wait};
    let (outcome, execution, remedy) = match InvokeError::find(error) {
        None if is_rejected(error) => (Outcome::of_error(error), DidNotRun, Wait),
        None => (Outcome::of_error(error), MayHaveRun, Elsewhere),
        Some(InvokeError::TooLarge { .. } | InvokeError::ContextTooLarge { .. }) => {
            (Outcome::Success, DidNotRun, Nothing)
        }
        Some(InvokeError::Unsigned(_)) => (Outcome::Cancelled, DidNotRun, Nothing),
        Some(InvokeError::Throttled(throttle)) => {
            let remedy = match throttle.scope() {
                ThrottleScope::Function => Elsewhere,
                ThrottleScope::Region => OtherRegion,
                ThrottleScope::Caller => Wait,
            };
            (Outcome::Overload { retry_after: throttle.retry_after() }, DidNotRun, remedy)
        }
        Some(InvokeError::Service(error)) => match (error.status(), error.code()) {
            (408 | 409, _) => (Outcome::Overload { retry_after: None }, DidNotRun, Elsewhere),
            // This function is missing, forbidden, or can't start. Others may work. (A function
            // with an invalid configuration also fails with 502, and can't be told apart.)
            (402 | 403 | 404 | 410, _) => (Outcome::ApplicationError, DidNotRun, Elsewhere),
            (502, code) if !code.is_empty() => (Outcome::ApplicationError, DidNotRun, Elsewhere),
            (400..=499, _) => (Outcome::Success, DidNotRun, Nothing),
            _ => (Outcome::ApplicationError, MayHaveRun, Elsewhere),
        },
        Some(InvokeError::Unreachable(_)) => (Outcome::TransportFailure, DidNotRun, Elsewhere),
        Some(InvokeError::TimedOut(_)) => (Outcome::Timeout, MayHaveRun, Elsewhere),
        Some(InvokeError::Interrupted(_)) => (Outcome::TransportFailure, MayHaveRun, Elsewhere),
        Some(InvokeError::FunctionFailed(_)) => (Outcome::ApplicationError, Ran, Elsewhere),
    };
    (outcome, RetryAdvice { execution, remedy })
}
