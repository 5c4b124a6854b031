use std::error::Error as StdError;

use super::retry_advice::judge;
use crate::{
    endpoint::EndpointId,
    lambda::{Execution, Invoked, InvokedStream, Remedy},
    outcome::{Classify, Outcome},
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
/// | the invocation could not be signed | [`Cancelled`]: not the endpoint's fault |
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        BoxError,
        endpoint::{Endpoint, EndpointId},
        lambda::{
            Execution::{self, DidNotRun, MayHaveRun},
            FunctionErrorKind, InvokeError,
            Remedy::{self, Elsewhere, Nothing, OtherRegion, Wait},
            RetryAdvice, ServiceError, Throttle,
        },
        limit::Rejected,
    };

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
        crate::Error::Endpoint { endpoint, source: source.into() }
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
        for error in [
            Box::new(Rejected::Outdated) as BoxError,
            Box::new(crate::Error::NoEndpoints),
            Box::new(wrapped(Rejected::QueueFull { limit: 1 })),
            Box::new(wrapped(crate::Error::NoEndpoints)),
            Box::new(std::io::Error::other(Rejected::Outdated)),
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
