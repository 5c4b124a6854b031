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
    const fn new(execution: Execution, remedy: Remedy) -> Self {
        Self { execution, remedy }
    }

    /// Returns advice about a response: only a function that failed calls for a retry.
    #[must_use]
    pub fn of(invoked: &Invoked) -> Option<Self> {
        invoked.is_function_error().then_some(Self::new(Execution::Ran, Remedy::Elsewhere))
    }

    /// Returns advice about an error: an [`InvokeError`], a balancer's own error, a limit's
    /// [`Rejected`](crate::limit::Rejected), or an error with one of these among its sources. For
    /// other errors it is not known whether the function ran.
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        if let Some(error) = InvokeError::find(error) {
            return Self::of_invoke_error(error);
        }
        match is_rejected(error) {
            true => Self::new(Execution::DidNotRun, Remedy::Wait),
            false => Self::new(Execution::MayHaveRun, Remedy::Elsewhere),
        }
    }

    fn of_invoke_error(error: &InvokeError) -> Self {
        match error {
            InvokeError::TooLarge { .. }
            | InvokeError::ContextTooLarge { .. }
            | InvokeError::Unsigned(_) => Self::new(Execution::DidNotRun, Remedy::Nothing),
            InvokeError::Throttled(throttle) => {
                let remedy = match throttle.scope() {
                    ThrottleScope::Function => Remedy::Elsewhere,
                    ThrottleScope::Region => Remedy::OtherRegion,
                    ThrottleScope::Caller => Remedy::Wait,
                };
                Self::new(Execution::DidNotRun, remedy)
            }
            InvokeError::Service(refusal) => refusal.rule().advice(),
            InvokeError::Unreachable(_) => Self::new(Execution::DidNotRun, Remedy::Elsewhere),
            InvokeError::TimedOut(_) | InvokeError::Interrupted(_) => {
                Self::new(Execution::MayHaveRun, Remedy::Elsewhere)
            }
            InvokeError::FunctionFailed(_) => Self::new(Execution::Ran, Remedy::Elsewhere),
        }
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

/// The cause of a service exception.
///
/// The HTTP status tells the cause, with one exception: a function with an invalid configuration
/// also fails with 502. It can't be told apart from other failures to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceRule {
    /// 400, 413, 415: the invocation is invalid.
    Request,
    /// 402, 403, 404, 410, and failures to start that come as 502: this function is missing,
    /// forbidden, or can't start. Others may work.
    Target,
    /// 408, 409: the function is not ready.
    NotReady,
    /// 500 and every unknown status.
    Service,
}

impl ServiceRule {
    pub(crate) fn of(status: u16, code: &str) -> Self {
        match status {
            408 | 409 => Self::NotReady,
            402 | 403 | 404 | 410 => Self::Target,
            400..=499 => Self::Request,
            502 if !code.is_empty() => Self::Target,
            _ => Self::Service,
        }
    }

    fn advice(self) -> RetryAdvice {
        match self {
            Self::Request => RetryAdvice::new(Execution::DidNotRun, Remedy::Nothing),
            Self::Target | Self::NotReady => {
                RetryAdvice::new(Execution::DidNotRun, Remedy::Elsewhere)
            }
            Self::Service => RetryAdvice::new(Execution::MayHaveRun, Remedy::Elsewhere),
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Request => Outcome::Success,
            Self::Target | Self::Service => Outcome::ApplicationError,
            Self::NotReady => Outcome::Overload { retry_after: None },
        }
    }
}
