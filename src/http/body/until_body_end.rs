use std::error::Error as StdError;

use http::{HeaderMap, Response};
use http_body::Body;

use super::switched::switches_protocols;
use crate::{
    Balancer,
    balance::Builder,
    http::{
        ClassifyHttp, HttpStatus, TrackedBody,
        load::{in_flight_header, permits_header},
    },
    outcome::{Attempt, Outcome, Track},
};

/// A balancer of HTTP requests, built by [`Builder::http`].
pub type HttpBalancer<S, St, C = HttpStatus> = Balancer<S, St, UntilBodyEnd<C>>;

impl Builder<UntilBodyEnd> {
    /// Returns the settings of a balancer of HTTP requests, which classifies responses by
    /// [`HttpStatus`].
    ///
    /// For another classification, call [`track`](Self::track) with an [`UntilBodyEnd`] of your
    /// own.
    ///
    /// ```
    /// use tower_lb::{balance::Builder, http::{GrpcStatus, UntilBodyEnd}};
    ///
    /// let http = Builder::http();
    /// let grpc = Builder::http().track(UntilBodyEnd::new(GrpcStatus));
    /// # drop((http, grpc));
    /// ```
    #[must_use]
    pub fn http() -> Self {
        Balancer::builder().track(UntilBodyEnd::default())
    }
}

/// Ends an attempt at the end of the response body, and measures its latency up to the response
/// head.
///
/// A response whose head says that the endpoint failed names the endpoint in its extensions, as an
/// [`EndpointId`](crate::endpoint::EndpointId).
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilBodyEnd<C = HttpStatus>(C);

impl<C: ClassifyHttp + Clone> UntilBodyEnd<C> {
    /// Classifies responses by `classify`.
    pub fn new(classify: C) -> Self {
        Self(classify)
    }
}

/// Reports the load that a server wrote into `headers`, if the strategy uses load reports.
pub(super) fn report(headers: &HeaderMap, attempt: &Attempt) {
    if !attempt.wants_reports() {
        return;
    }
    if let Some(report) = in_flight_header::read(headers) {
        attempt.report(&report);
    }
    if let Some(report) = permits_header::read(headers) {
        attempt.report(&report);
    }
    #[cfg(feature = "orca")]
    if let Some(report) = crate::http::load_report(headers) {
        attempt.report(&report);
    }
}

impl<B: Body, C: ClassifyHttp + Clone> Track<Response<B>> for UntilBodyEnd<C> {
    type Response = Response<TrackedBody<B, C>>;

    fn response(&self, response: Response<B>, mut attempt: Attempt) -> Self::Response {
        attempt.first_byte();
        let (mut head, body) = response.into_parts();
        report(&head.headers, &attempt);
        let outcome = self.0.head(&head);
        if outcome.as_ref().is_some_and(Outcome::is_failure) {
            // A retry reads this to select another endpoint.
            head.extensions.insert(attempt.endpoint_id());
        }
        let body = if switches_protocols(head.status, &head.extensions) {
            TrackedBody::of_tunnel(body, attempt, self.0.clone())
        } else {
            TrackedBody::new(body, attempt, self.0.clone(), outcome)
        };
        Response::from_parts(head, body)
    }

    fn error(&self, error: &(dyn StdError + 'static), attempt: Attempt) {
        attempt.finish(self.0.error(error));
    }
}
