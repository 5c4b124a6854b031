//! How an invocation ended, and what that means for figures and retries.

use std::error::Error as StdError;

use crate::{
    balance::Builder,
    endpoint::EndpointId,
    lambda::{InvokeError, Invoked, InvokedStream, ThrottleScope},
    limit::is_rejected,
    outcome::{Attempt, Attempts, Carry, Classify, Fault, Follow, Outcome, Track},
    retry::{RetryDecision, RetryPolicy},
};

/// Classifies the result of an invocation.
///
/// | result | outcome |
/// |---|---|
/// | the function responded, or the service accepted the event | [`Success`] |
/// | the function failed | [`ApplicationError`] |
/// | throttled, for any reason (429) | [`Overload`], with the requested delay |
/// | the function is not ready (408, 409) | [`Overload`] |
/// | missing, forbidden or can't start (402, 403, 404, 410, 502) | [`ApplicationError`] |
/// | the service failed (500 and others) | [`ApplicationError`] |
/// | the invocation is invalid (400, 413, 415, too large) | [`Success`]: not the endpoint's fault |
/// | could not be signed, or an error of the caller ([`CallerError`](crate::outcome::CallerError)) | [`Cancelled`]: not the endpoint's fault |
/// | not connected, or the connection was interrupted | [`TransportFailure`] |
/// | no response in time | [`Timeout`] |
///
/// [`RetryAdvice`](crate::lambda::RetryAdvice) says what may be retried, and where.
///
/// [`Success`]: Outcome::Success
/// [`ApplicationError`]: Outcome::ApplicationError
/// [`Overload`]: Outcome::Overload
/// [`Cancelled`]: Outcome::Cancelled
/// [`TransportFailure`]: Outcome::TransportFailure
/// [`Timeout`]: Outcome::Timeout
#[derive(Clone, Copy, Debug, Default)]
pub struct InvocationStatus;

impl InvocationStatus {
    pub(crate) fn of_error(error: &(dyn StdError + 'static)) -> Outcome {
        judge(error).0
    }
}

impl Classify<Invoked> for InvocationStatus {
    fn classify(&self, result: Result<&Invoked, &(dyn StdError + 'static)>) -> Outcome {
        match result {
            Ok(invoked) if invoked.is_function_error() => Outcome::ApplicationError,
            Ok(_) => Outcome::Success,
            Err(error) => Self::of_error(error),
        }
    }
}

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
    let (outcome, advice) = judge(error);
    match (advice.remedy(), advice.execution()) {
        (Remedy::Wait | Remedy::Nothing, _) => RetryDecision::Final,
        (_, Execution::MayHaveRun | Execution::Ran) => RetryDecision::Failed(outcome),
        (_, Execution::DidNotRun) if outcome == Outcome::TransportFailure => RetryDecision::Unsent,
        (_, Execution::DidNotRun) => RetryDecision::Refused(outcome),
    }
}

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
        None if Fault::of(error).is_some_and(Fault::is_ours) => {
            (Outcome::Cancelled, DidNotRun, Nothing)
        }
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

impl Builder<UntilResponse> {
    /// Returns the settings of a balancer of Lambda functions, whose responses [`UntilResponse`]
    /// tracks.
    #[must_use]
    pub fn lambda() -> Self {
        crate::Balancer::builder().track(UntilResponse)
    }
}

/// Ends the attempt with the response, and classifies it by [`InvocationStatus`].
///
/// The response of a failed function [names](Invoked::endpoint_id) its endpoint. A retry prefers
/// endpoints that the invocation has not been sent to.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilResponse;

impl Track<Invoked> for UntilResponse {
    type Response = Invoked;

    fn response(&self, mut response: Invoked, attempt: Attempt) -> Invoked {
        if response.is_function_error() {
            // Retries avoid this endpoint.
            response.endpoint_id = Some(attempt.endpoint_id());
        }
        attempt.finish(InvocationStatus.classify(Ok(&response)));
        response
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(InvocationStatus::of_error(error));
    }
}

impl<Req: Carry> Follow<Req> for UntilResponse {
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        request.attempts()
    }
}

/// Ends the attempt at the end of the streamed response, and classifies it by [`InvocationStatus`].
/// Latency is measured to the beginning of the response.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilStreamEnd;

impl Track<InvokedStream> for UntilStreamEnd {
    type Response = InvokedStream;

    fn response(&self, response: InvokedStream, mut attempt: Attempt) -> InvokedStream {
        attempt.first_byte();
        response.in_attempt(attempt)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(InvocationStatus::of_error(error));
    }
}

impl<Req: Carry> Follow<Req> for UntilStreamEnd {
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        request.attempts()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        BoxError,
        endpoint::Endpoint,
        lambda::{
            Execution::{self, DidNotRun, MayHaveRun},
            FunctionErrorKind,
            Remedy::{self, Elsewhere, Nothing, OtherRegion, Wait},
            ServiceError, Throttle,
        },
        limit::{RejectReason, Rejected},
    };

    use super::*;

    const APPLICATION: Outcome = Outcome::ApplicationError;
    const NOT_READY: Outcome = Outcome::Overload { retry_after: None };

    /// The expected outcome, execution and remedy, by HTTP status and exceptions.
    const TABLE: [(u16, &str, Outcome, Execution, Remedy); 18] = [
        (500, "ServiceException", APPLICATION, MayHaveRun, Elsewhere),
        (502, "EC2ThrottledException", APPLICATION, DidNotRun, Elsewhere),
        (502, "EC2UnexpectedException ENINotReadyException", APPLICATION, DidNotRun, Elsewhere),
        (502, "ENILimitReachedException", APPLICATION, DidNotRun, Elsewhere),
        (502, "SubnetIPAddressLimitReachedException", APPLICATION, DidNotRun, Elsewhere),
        (502, "InvalidRuntimeException", APPLICATION, DidNotRun, Elsewhere),
        (502, "KMSDisabledException InvalidZipFileException", APPLICATION, DidNotRun, Elsewhere),
        (502, "", APPLICATION, MayHaveRun, Elsewhere),
        (409, "ResourceConflictException", NOT_READY, DidNotRun, Elsewhere),
        (409, "SnapStartNotReadyException", NOT_READY, DidNotRun, Elsewhere),
        (408, "EFSMountTimeoutException", NOT_READY, DidNotRun, Elsewhere),
        (408, "SnapStartTimeoutException", NOT_READY, DidNotRun, Elsewhere),
        (404, "ResourceNotFoundException", APPLICATION, DidNotRun, Elsewhere),
        (403, "EFSMountFailureException AccessDeniedException", APPLICATION, DidNotRun, Elsewhere),
        (410, "EFSIOException", APPLICATION, DidNotRun, Elsewhere),
        (400, "InvalidRequestContentException", Outcome::Success, DidNotRun, Nothing),
        (400, "RecursiveInvocationException", Outcome::Success, DidNotRun, Nothing),
        (413, "RequestTooLargeException", Outcome::Success, DidNotRun, Nothing),
    ];

    fn wrapped(source: impl Into<BoxError>) -> crate::Error {
        let endpoint = EndpointId::new("a", &Endpoint::new(()));
        crate::Error::Endpoint { balancer: None, endpoint, source: source.into() }
    }

    fn judged(error: InvokeError) -> (Outcome, Execution, Remedy) {
        let error = wrapped(error);
        let advice = RetryAdvice::of_error(&error);
        (InvocationStatus.classify(Err(&error)), advice.execution(), advice.remedy())
    }

    #[test]
    fn exceptions_are_classified_by_the_table() {
        for (status, codes, outcome, execution, remedy) in TABLE {
            // Splits "" into one empty code.
            for code in codes.split(' ') {
                let error = ServiceError::new(status, code, "message");
                let judged = judged(InvokeError::Service(Box::new(error)));
                assert_eq!(judged, (outcome.clone(), execution, remedy), "{status} {code}");
            }
        }
    }

    #[test]
    fn throttles_of_every_scope_are_overload() {
        let delay = Some(Duration::from_secs(2));
        for (reason, remedy) in [
            ("ReservedFunctionConcurrentInvocationLimitExceeded", Elsewhere),
            ("ConcurrentInvocationLimitExceeded", OtherRegion),
            ("CallerRateLimitExceeded", Wait),
            ("ConcurrentSnapshotCreateLimitExceeded", Elsewhere),
        ] {
            let throttle = Throttle::new(reason.parse().unwrap(), delay);
            let expected = (Outcome::Overload { retry_after: delay }, DidNotRun, remedy);
            assert_eq!(judged(InvokeError::Throttled(throttle)), expected);
        }
    }

    #[test]
    fn without_a_response_a_retry_is_safe_only_if_nothing_was_sent() {
        let new: [(fn(BoxError) -> InvokeError, _, _, _); 4] = [
            (InvokeError::Unreachable, Outcome::TransportFailure, DidNotRun, Elsewhere),
            (InvokeError::Interrupted, Outcome::TransportFailure, MayHaveRun, Elsewhere),
            (InvokeError::TimedOut, Outcome::Timeout, MayHaveRun, Elsewhere),
            (InvokeError::Unsigned, Outcome::Cancelled, DidNotRun, Nothing),
        ];
        for (error, outcome, execution, remedy) in new {
            assert_eq!(judged(error("cause".into())), (outcome, execution, remedy));
        }
        let timed_out = RetryAdvice::of_error(&InvokeError::TimedOut("cause".into()));
        assert!(timed_out.may_retry(true) && !timed_out.may_retry(false));
        let elapsed = tower::timeout::error::Elapsed::new();
        assert_eq!(RetryAdvice::of_error(&elapsed).execution(), MayHaveRun);
    }

    #[test]
    fn what_a_limit_or_a_balancer_rejected_did_not_run() {
        let rejected = |reason| Rejected::new("limit", reason);
        for error in [
            Box::new(rejected(RejectReason::Outdated)) as BoxError,
            Box::new(crate::Error::NoEndpoints { balancer: None }),
            Box::new(wrapped(rejected(RejectReason::QueueFull { limit: 1 }))),
            Box::new(wrapped(crate::Error::NoEndpoints { balancer: None })),
            Box::new(std::io::Error::other(rejected(RejectReason::Outdated))),
        ] {
            let advice = RetryAdvice::of_error(&*error);
            assert_eq!((advice.execution(), advice.remedy()), (DidNotRun, Wait), "{error:?}");
            assert!(!advice.may_retry(true));
        }
    }

    #[test]
    fn a_function_error_means_that_code_ran() {
        let failed = Invoked::new(200, "{}").with_function_error(FunctionErrorKind::Handled);
        assert_eq!(InvocationStatus.classify(Ok(&failed)), APPLICATION);
        let advice = RetryAdvice::of(&failed).unwrap();
        assert!(advice.may_retry(true) && !advice.may_retry(false));
        assert_eq!(RetryAdvice::of(&Invoked::new(202, "")), None);
    }
}
