use std::error::Error as StdError;

use crate::{
    lambda::{InvocationStatus, InvokedStream},
    outcome::{Attempt, Attempts, Carry, Follow, Track},
};

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
