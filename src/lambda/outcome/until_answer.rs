use std::error::Error as StdError;

use crate::{
    balance::Builder,
    lambda::{InvocationStatus, Invoked},
    outcome::{Attempt, Attempts, Carry, Classify, Follow, Track},
};

/// Settings for a balancer of functions, whose answers are tracked by [`UntilAnswer`].
#[must_use]
pub fn builder() -> Builder<UntilAnswer> {
    crate::Balancer::builder().track(UntilAnswer)
}

/// The attempt is over with the answer, and judged by [`InvocationStatus`].
///
/// The answer of a function that failed [tells](Invoked::endpoint_id) which endpoint that was, and
/// invocations that were somewhere before go elsewhere, if there is an elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilAnswer;

impl Track<Invoked> for UntilAnswer {
    type Response = Invoked;

    fn response(&self, mut response: Invoked, attempt: Attempt) -> Invoked {
        if response.is_function_error() {
            // For those who try again elsewhere.
            response.came_from(Some(attempt.endpoint_id()));
        }
        attempt.finish(InvocationStatus.classify(Ok(&response)));
        response
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(InvocationStatus::of_error(error));
    }
}

impl<Req: Carry> Follow<Req> for UntilAnswer {
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        request.attempts()
    }
}
