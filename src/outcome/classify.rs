use std::{error::Error as StdError, io};

use super::{Elapsed, Fault, Outcome, fault::is_client_timeout};
use crate::error::chain;

/// Decides what a response or an error says about the endpoint that it came from.
///
/// The error is the endpoint's own, as a trait object. Downcast it to inspect it, or call
/// [`Outcome::of_error`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not classify responses of type `{Response}`",
    note = "use `ResultOnly`, or a function `Fn(Result<&{Response}, &(dyn Error + 'static)>) -> Outcome`"
)]
pub trait Classify<Response> {
    /// Returns the outcome of an attempt that ended with `result`.
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome;
}

/// A classifier that counts each response as a success, and each error as [`Outcome::of_error`]
/// does.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultOnly;

impl<Response> Classify<Response> for ResultOnly {
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome {
        result.map_or_else(Outcome::of_error, |_| Outcome::Success)
    }
}

#[diagnostic::do_not_recommend]
impl<Response, F> Classify<Response> for F
where
    F: Fn(Result<&Response, &(dyn StdError + 'static)>) -> Outcome,
{
    fn classify(&self, result: Result<&Response, &(dyn StdError + 'static)>) -> Outcome {
        self(result)
    }
}

impl Outcome {
    /// Returns the outcome of an error, by its type and those of its sources.
    ///
    /// | error | outcome |
    /// |---|---|
    /// | of the caller ([`CallerError`](super::CallerError)): its body failed, its request cannot be sent | [`Cancelled`](Self::Cancelled) |
    /// | a stream that an HTTP/2 server refused | [`Overload`](Self::Overload) |
    /// | a timeout of this crate ([`Elapsed`]), tower, tokio, hyper or the operating system | [`Timeout`](Self::Timeout) |
    /// | any other | [`TransportFailure`](Self::TransportFailure) |
    ///
    /// With feature `http-client` it knows the errors of hyper, hyper-util and h2, which those of
    /// reqwest and tonic have as sources, and with feature `sigv4` those of signing.
    #[must_use]
    pub fn of_error(error: &(dyn StdError + 'static)) -> Self {
        match Fault::of(error) {
            Some(Fault::Caller | Fault::Local) => Self::Cancelled,
            Some(Fault::Refused) => Self::Overload { retry_after: None },
            Some(Fault::Unsent) | None if chain(error).any(is_timeout) => Self::Timeout,
            Some(Fault::Unsent) | None => Self::TransportFailure,
        }
    }
}

pub(crate) fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    error.is::<Elapsed>()
        || error.is::<tower::timeout::error::Elapsed>()
        || error.is::<tokio::time::error::Elapsed>()
        || error.downcast_ref().is_some_and(timed_out)
        || is_client_timeout(error)
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
        let wrapped =
            crate::Error::Endpoint { balancer: None, endpoint, source: Box::new(timeout) };
        assert_eq!(Outcome::of_error(&wrapped), Outcome::Timeout);
        let elapsed = tower::timeout::error::Elapsed::new();
        assert_eq!(Outcome::of_error(&elapsed), Outcome::Timeout);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Outcome::of_error(&refused), Outcome::TransportFailure);
    }
}
