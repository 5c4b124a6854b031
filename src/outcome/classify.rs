use std::{error::Error as StdError, io};

use super::{Elapsed, Outcome};
use crate::error::chain;

/// Decides what a response or an error says about the endpoint it came from.
///
/// The error is the endpoint's own, behind a trait object: downcast it to look into it, or leave it
/// to [`Outcome::of_error`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not classify responses of type `{Response}`",
    note = "use `ResultOnly`, or a function `Fn(Result<&Response, &(dyn Error + 'static)>) -> Outcome`"
)]
pub trait Classify<Response> {
    /// The outcome of an attempt that ended in `result`.
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome;
}

/// Any response is a success, any error what [`Outcome::of_error`] says.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultOnly;

impl<Response> Classify<Response> for ResultOnly {
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome {
        result.map_or_else(Outcome::of_error, |_| Outcome::Success)
    }
}

impl<Response, F> Classify<Response> for F
where
    F: Fn(Result<&Response, &(dyn StdError + 'static)>) -> Outcome,
{
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome {
        self(result)
    }
}

impl Outcome {
    /// What an error says if nothing more is known of it: a [`Timeout`](Self::Timeout) if it or one
    /// of its sources is ours ([`Elapsed`]), tower's, tokio's or the operating system's, a
    /// [`TransportFailure`](Self::TransportFailure) otherwise.
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        if chain(error).any(is_timeout) { Self::Timeout } else { Self::TransportFailure }
    }
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    error.is::<Elapsed>()
        || error.is::<tower::timeout::error::Elapsed>()
        || error.is::<tokio::time::error::Elapsed>()
        || error.downcast_ref().is_some_and(timed_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Endpoint, EndpointId};

    #[test]
    fn timeouts_are_found_behind_other_errors() {
        let timeout = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(Outcome::of_error(&timeout), Outcome::Timeout);
        let endpoint = EndpointId::new("a", &Endpoint::new(()));
        let wrapped = crate::Error::Endpoint { endpoint, source: Box::new(timeout) };
        assert_eq!(Outcome::of_error(&wrapped), Outcome::Timeout);
        let elapsed = tower::timeout::error::Elapsed::new();
        assert_eq!(Outcome::of_error(&elapsed), Outcome::Timeout);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Outcome::of_error(&refused), Outcome::TransportFailure);
    }
}
