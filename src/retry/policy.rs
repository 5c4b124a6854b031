use std::{error::Error as StdError, io};

use crate::{
    Error,
    endpoint::EndpointId,
    error::chain,
    limit::is_rejected,
    outcome::{Bound, Classify, Elapsed, Outcome, ResultOnly},
};

/// Decides whether another attempt may do better.
pub trait RetryPolicy<Response> {
    /// What to make of how an attempt ended.
    fn decide(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> RetryDecision;

    /// Which endpoint a response that is not good enough came from, if it tells. Default: it does
    /// not. Errors of the balancer tell anyhow.
    fn endpoint<'r>(&self, response: &'r Response) -> Option<&'r EndpointId> {
        let _ = response;
        None
    }
}

/// What to make of how an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryDecision {
    /// It is for the caller: a good answer, or one that another attempt would not better.
    Final,
    /// It failed like this, and another attempt may do better, after what the endpoint asked to wait
    /// for ([`Outcome::retry_after`]).
    Failed(Outcome),
    /// The endpoint turned it away undone, like this: it may be sent again whatever it does, and that
    /// costs as for any other failure, for it may be that all have too much to do.
    Refused(Outcome),
    /// It failed before anything was sent, so that it may be sent again whatever it does, at once and
    /// for nothing.
    Unsent,
}

impl RetryDecision {
    /// What an error says if nothing more is known of it: an endpoint's is worth another attempt, the
    /// balancer's own (no endpoints, all busy) is not, for it has waited as long as it may, and nor
    /// is one that was [`Rejected`](crate::limit::Rejected).
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        if is_rejected(error) {
            return Self::Final;
        }
        for error in chain(error) {
            let unconnected = |elapsed: &Elapsed| elapsed.bound() == Bound::Connect;
            if error.downcast_ref().is_some_and(is_unsent)
                || error.downcast_ref().is_some_and(unconnected)
            {
                return Self::Unsent;
            }
        }
        Self::Failed(Outcome::of_error(error))
    }
}

/// Only connecting is refused. Unreachable a host may become at any time.
fn is_unsent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// The endpoint that an error names, perhaps behind other errors.
pub(crate) fn endpoint_of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e EndpointId> {
    chain(error).find_map(|error| error.downcast_ref::<Error>()?.endpoint_id())
}

/// What a classifier calls a failure is worth another attempt; the balancer's classifier will do.
///
/// Errors are judged by [`RetryDecision::of_error`].
#[derive(Clone, Copy, Debug)]
pub struct RetryFailures<C = ResultOnly>(C);

impl<C> RetryFailures<C> {
    /// Goes by `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl Default for RetryFailures {
    /// Any response is good enough.
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
