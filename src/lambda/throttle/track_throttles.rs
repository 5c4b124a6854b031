use std::{error::Error as StdError, sync::Arc};

use super::throttles::Memory;
use crate::outcome::{Attempt, Attempts, Follow, Track};

/// Records throttles for [`Throttles`](crate::lambda::Throttles), and tracks by another tracker.
#[derive(Clone, Debug)]
pub struct TrackThrottles<T> {
    inner: T,
    memory: Arc<Memory>,
}

impl<T> TrackThrottles<T> {
    pub(super) fn new(inner: T, memory: Arc<Memory>) -> Self {
        Self { inner, memory }
    }
}

impl<T, Response> Track<Response> for TrackThrottles<T>
where
    T: Track<Response>,
{
    type Response = T::Response;

    fn response(&self, response: Response, attempt: Attempt) -> T::Response {
        self.inner.response(response, attempt)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        let endpoint = attempt.endpoint_state();
        self.memory.learn(error, &endpoint.name, &endpoint.attributes);
        self.inner.error(error, attempt);
    }
}

impl<T: Follow<Req>, Req> Follow<Req> for TrackThrottles<T> {
    fn attempts<'r>(&self, request: &'r Req) -> Option<&'r Attempts> {
        self.inner.attempts(request)
    }
}
