use std::error::Error as StdError;

use crate::{
    balance::Builder,
    lambda::{InvocationStatus, Invoked, InvokedStream},
    outcome::{Attempt, Attempts, Carry, Classify, Follow, Track},
};

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
            response.set_endpoint_id(attempt.endpoint_id());
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
