use std::error::Error as StdError;

use http::{HeaderMap, Response};
use http_body::Body;

use crate::{
    balance::Builder,
    http::{ClassifyHttp, HttpStatus, TrackedBody, load::in_flight_header},
    outcome::{Attempt, Track},
};

/// A balancer of HTTP requests; what [`builder`] builds.
pub type Balancer<S, St, C = HttpStatus> = crate::Balancer<S, St, UntilBodyEnd<C>>;

/// Settings for a balancer of HTTP requests, which judges responses by [`HttpStatus`].
///
/// For another judgement, [`track`](Builder::track) them by an [`UntilBodyEnd`] of your own.
#[must_use]
pub fn builder() -> Builder<UntilBodyEnd> {
    crate::Balancer::builder().track(UntilBodyEnd::default())
}

/// The attempt is over at the end of the response's body; latency is measured to its head.
///
/// A response whose head says that the endpoint failed tells which in its extensions, as an
/// [`EndpointId`](crate::endpoint::EndpointId).
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd<C = HttpStatus>(C);

impl<C> UntilBodyEnd<C> {
    /// Judges responses by `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

/// Passes on what the server says of its load, if somebody wants to know.
pub(super) fn report(headers: &HeaderMap, attempt: &Attempt) {
    if !attempt.wants_reports() {
        return;
    }
    if let Some(report) = in_flight_header::read(headers) {
        attempt.report(&report);
    }
    #[cfg(feature = "orca")]
    if let Some(report) = crate::http::load_report(headers) {
        attempt.report(&report);
    }
}

impl<B, C> Track<Response<B>> for UntilBodyEnd<C>
where
    B: Body,
    C: ClassifyHttp + Clone,
{
    type Response = Response<TrackedBody<B, C>>;

    fn response(&self, response: Response<B>, mut attempt: Attempt) -> Self::Response {
        attempt.first_byte();
        let (mut head, body) = response.into_parts();
        report(&head.headers, &attempt);
        let outcome = self.0.head(&head);
        if outcome.is_failure() {
            // For those who try again elsewhere.
            head.extensions.insert(attempt.endpoint_id());
        }
        let body = TrackedBody::new(body, attempt, self.0.clone(), outcome);
        Response::from_parts(head, body)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(self.0.error(error));
    }
}
