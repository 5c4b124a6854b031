use std::error::Error as StdError;

use crate::{
    BoxError, Error,
    endpoint::EndpointId,
    error::chain,
    limit::is_rejected,
    outcome::{Carry, Classify, Fault, Outcome, ResultOnly},
};

/// Decides whether another attempt may succeed. Used by retries, hedges and failover.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not decide whether to retry after a response of type `{Response}`",
    note = "use `RetryFailures::new` with the balancer's classifier, `http::RetryOn` for HTTP, or implement `RetryPolicy<{Response}>` for `{Self}`"
)]
pub trait RetryPolicy<Response> {
    /// Decides what to do with the result of an attempt.
    fn decide(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> RetryDecision;

    /// Returns the endpoint that a failed response came from, if the response names it. Default:
    /// `None`. Errors of the balancer name their endpoint in any case.
    ///
    /// Without it, the first retry may go to the same endpoint again.
    fn endpoint<'r>(&self, response: &'r Response) -> Option<&'r EndpointId> {
        let _ = response;
        None
    }
}

/// What a [`RetryPolicy`] makes of the result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryDecision {
    /// The result goes to the caller: a success, or a failure that another attempt would not
    /// change.
    Final,
    /// The attempt failed with this outcome, and another attempt may succeed. An idempotent request
    /// is retried, after the time that the endpoint asked for ([`Outcome::retry_after`]).
    Failed(Outcome),
    /// The endpoint refused the request without processing it, with this outcome. Requests that are
    /// not idempotent are retried as well. The retry costs as much as any other, because all
    /// endpoints may be overloaded.
    Refused(Outcome),
    /// The endpoint has certainly not processed the request: nothing was sent, or the endpoint has
    /// said that. Requests that are not idempotent are retried as well, at once and free of charge.
    Unsent,
}

impl RetryDecision {
    /// Decides about an error, by its type and those of its sources.
    ///
    /// | error | decision |
    /// |---|---|
    /// | of the balancer itself (no endpoints, all busy), which has waited as long as it may | [`Final`](Self::Final) |
    /// | [`Rejected`](crate::limit::Rejected) by a limit | [`Final`](Self::Final) |
    /// | of the caller ([`CallerError`](crate::outcome::CallerError)): every endpoint would get the same | [`Final`](Self::Final) |
    /// | not connected, not written, or cut off by a GOAWAY before it was processed | [`Unsent`](Self::Unsent) |
    /// | a stream that an HTTP/2 server refused, or a pool whose connections are all in use | [`Refused`](Self::Refused) |
    /// | any other | [`Failed`](Self::Failed), with [`Outcome::of_error`] |
    ///
    /// With feature `http-client` it knows the errors of hyper, hyper-util and h2, which those of
    /// reqwest and tonic have as sources, and with feature `sigv4` those of signing.
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        if is_rejected(error) {
            return Self::Final;
        }
        match Fault::of(error) {
            Some(Fault::Caller | Fault::Local) => Self::Final,
            Some(Fault::Unsent) => Self::Unsent,
            Some(Fault::Refused) => Self::Refused(Outcome::Overload { retry_after: None }),
            None => Self::Failed(Outcome::of_error(error)),
        }
    }
}

/// Returns `result` as a [`RetryPolicy`] takes it.
pub(crate) fn as_dyn<Rsp>(
    result: &Result<Rsp, BoxError>,
) -> Result<&Rsp, &(dyn StdError + 'static)> {
    match result {
        Ok(response) => Ok(response),
        Err(error) => Err(&**error),
    }
}

/// Returns the endpoint that `error` or one of its sources names.
pub(crate) fn endpoint_of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e EndpointId> {
    chain(error).find_map(|error| error.downcast_ref::<Error>()?.endpoint_id())
}

/// Retries whatever a classifier counts as a failure. Use the balancer's classifier.
///
/// Errors are decided by [`RetryDecision::of_error`].
#[derive(Clone, Copy, Debug)]
pub struct RetryFailures<C = ResultOnly>(C);

impl<C> RetryFailures<C> {
    /// Retries the failures of `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl Default for RetryFailures {
    /// Retries errors, and returns every response.
    fn default() -> Self {
        Self::new(ResultOnly)
    }
}

impl<C: Classify<Response>, Response> RetryPolicy<Response> for RetryFailures<C> {
    fn decide(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> RetryDecision {
        match result {
            Err(error) => RetryDecision::of_error(error),
            Ok(response) => match self.0.classify(Ok(response)) {
                outcome if outcome.is_failure() => RetryDecision::Failed(outcome),
                _ => RetryDecision::Final,
            },
        }
    }
}

/// A request that may be sent more than once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent more than once",
    label = "this request type does not say whether it may be retried",
    note = "implement `RetryableRequest` and `Carry` for `{Self}`; for `http::Request`, place `http::ReplayLayer` above this layer"
)]
pub trait RetryableRequest: Carry + Sized {
    /// Returns when the request may be retried.
    fn retry_safety(&self) -> RetrySafety;

    /// Returns a copy to send, or `None` if the request can no longer be copied. The copy shares
    /// the attempts of the request.
    fn try_clone(&self) -> Option<Self>;
}

/// When a request may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetrySafety {
    /// Never.
    Never,
    /// If it is certain that no endpoint has processed it, as when the connection was refused.
    IfUnsent,
    /// After any failed attempt: sending it twice has the same effect as sending it once.
    Idempotent,
}
