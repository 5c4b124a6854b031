use std::error::Error as StdError;

use crate::{
    lambda::{InvokeError, Invoked, ThrottleScope},
    limit::is_rejected,
    outcome::Outcome,
};

/// What is known about an invocation that did not succeed, and what may help: what a retry policy
/// goes by.
///
/// ```
/// use tower_lb::lambda::{Advice, InvokeError, Refusal, Remedy};
///
/// let error = InvokeError::Refused(Box::new(Refusal::new(500, "ServiceException", "")));
/// let advice = Advice::of_error(&error);
/// assert_eq!(advice.remedy(), Remedy::Elsewhere);
/// assert!(!advice.may_retry(false), "the function may have run");
/// assert!(advice.may_retry(true));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    execution: Execution,
    remedy: Remedy,
}

/// Whether the function's code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// It did not: to send the invocation again is safe.
    DidNotRun,
    /// Nobody can tell.
    MayHaveRun,
    /// It did, wholly or in part.
    Ran,
}

/// What may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt, better at another function, alias or region.
    Elsewhere,
    /// Another attempt in another region or account; in this one nobody has room.
    OtherRegion,
    /// To wait; no target would help now.
    Wait,
    /// Nothing: it is the invocation that is wrong, or the credentials that it needs are missing.
    Nothing,
}

impl Advice {
    const fn new(execution: Execution, remedy: Remedy) -> Self {
        Self { execution, remedy }
    }

    /// About an answer of the service: something to do only if the function failed.
    #[must_use]
    pub fn of(invoked: &Invoked) -> Option<Self> {
        invoked.is_function_error().then_some(Self::new(Execution::Ran, Remedy::Elsewhere))
    }

    /// About an error: an [`InvokeError`], a balancer's own, one by which a limit
    /// [`Rejected`](crate::limit::Rejected) it, or one that
    /// has such an error among its sources. Of others it is not known whether the function ran.
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
            InvokeError::Refused(refusal) => refusal.rule().advice(),
            InvokeError::Unreachable(_) => Self::new(Execution::DidNotRun, Remedy::Elsewhere),
            InvokeError::TimedOut(_) | InvokeError::Interrupted(_) => {
                Self::new(Execution::MayHaveRun, Remedy::Elsewhere)
            }
            InvokeError::FunctionFailed(_) => Self::new(Execution::Ran, Remedy::Elsewhere),
        }
    }

    /// Whether the function's code ran.
    #[must_use]
    pub fn execution(self) -> Execution {
        self.execution
    }

    /// What may help.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        self.remedy
    }

    /// True if another attempt is safe and may help: elsewhere or in another region, and only if the
    /// function did not run, or running it twice does no harm.
    #[must_use]
    pub fn may_retry(self, idempotent: bool) -> bool {
        let helps = matches!(self.remedy, Remedy::Elsewhere | Remedy::OtherRegion);
        helps && (idempotent || self.execution == Execution::DidNotRun)
    }
}

/// What an exception of the service is about.
///
/// Statuses tell it, but for the invalid set-ups of a function that come as 502 and mean that
/// it can't start: those look like the other 502s until somebody repairs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceRule {
    /// 400, 413, 415: the invocation is wrong.
    Request,
    /// 402, 403, 404, 410, and the failures to start that come as 502: the function is not there,
    /// may not be invoked, or can't be started. Others may be.
    Target,
    /// 408, 409: the function is not ready.
    NotReady,
    /// 500 and everything unknown.
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

    fn advice(self) -> Advice {
        match self {
            Self::Request => Advice::new(Execution::DidNotRun, Remedy::Nothing),
            Self::Target | Self::NotReady => Advice::new(Execution::DidNotRun, Remedy::Elsewhere),
            Self::Service => Advice::new(Execution::MayHaveRun, Remedy::Elsewhere),
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
