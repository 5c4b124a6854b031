use std::{error::Error as StdError, io, time::Duration};

use crate::{
    Error,
    endpoint::Instance,
    limit::Rejected,
    outcome::{Classify, Outcome, ResultOnly},
};

/// Decides whether another attempt may do better.
pub trait Judge<Response> {
    /// What to make of how an attempt ended.
    fn judge(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Verdict;

    /// Which endpoint a response that is not good enough came from, if it tells. Default: it does
    /// not. Errors of the balancer tell anyhow.
    fn endpoint<'r>(&self, response: &'r Response) -> Option<&'r Instance> {
        let _ = response;
        None
    }
}

/// What to make of how an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is for the caller: a good answer, or one that another attempt would not better.
    Final,
    /// It failed, and another attempt may do better.
    Failed {
        /// How long to wait first, as the endpoint asked.
        after: Option<Duration>,
    },
    /// It failed before anything was sent, so that it may be sent again whatever it does.
    Unsent,
}

impl Verdict {
    /// What an error says if nothing more is known of it: an endpoint's is worth another attempt, the
    /// balancer's own (no endpoints, all busy) is not, for it has waited as long as it may, and nor
    /// is one that was [`Rejected`].
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        for error in chain(error) {
            if error.downcast_ref().is_some_and(Error::is_unsent) || error.is::<Rejected>() {
                return Self::Final;
            }
            if error.downcast_ref().is_some_and(is_unsent) {
                return Self::Unsent;
            }
        }
        Self::Failed { after: None }
    }
}

/// Refused or unreachable: kinds that only connecting gives.
fn is_unsent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// The endpoint that an error names, perhaps behind other errors.
pub(crate) fn endpoint_of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Instance> {
    chain(error).find_map(|error| error.downcast_ref::<Error>()?.instance())
}

/// What a classifier calls a failure is worth another attempt; the balancer's classifier will do.
///
/// Errors are judged by [`Verdict::of_error`].
#[derive(Clone, Copy, Debug)]
pub struct Failures<C = ResultOnly>(C);

impl<C> Failures<C> {
    /// Goes by `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

impl Default for Failures {
    /// Any response is good enough.
    fn default() -> Self {
        Self::new(ResultOnly)
    }
}

impl<C: Classify<Response>, Response> Judge<Response> for Failures<C> {
    fn judge(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Verdict {
        match result {
            Err(error) => Verdict::of_error(error),
            Ok(response) => match self.0.classify(Ok(response)) {
                Outcome::Overload { retry_after } => Verdict::Failed { after: retry_after },
                outcome if outcome.is_failure() => Verdict::Failed { after: None },
                _ => Verdict::Final,
            },
        }
    }
}
