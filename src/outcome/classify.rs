use super::Outcome;

/// Decides what a response or an error says about the endpoint it came from.
pub trait Classify<Response, Error> {
    /// The outcome of an attempt that ended in `result`.
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome;
}

/// Any response is a success, any error a [`TransportFailure`](Outcome::TransportFailure).
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultOnly;

impl<Response, Error> Classify<Response, Error> for ResultOnly {
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::TransportFailure,
        }
    }
}

impl<Response, Error, F> Classify<Response, Error> for F
where
    F: Fn(Result<&Response, &Error>) -> Outcome,
{
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome {
        self(result)
    }
}
