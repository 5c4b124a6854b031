use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{ConnectionInfo, activity::Activity};
#[cfg(feature = "tls")]
use crate::listener::tls::TlsDetails;
use crate::{
    BoxError,
    future::polled_after_completion,
    http::{ClientConnection, HeldBody},
    listener::core::Phase,
};

/// A service that a [`Listener`](crate::listener::Listener) can serve: every service of hyper's
/// requests with any body in its responses. It is implemented for all such services.
///
/// The listener clones the service for each connection and each request. A service that fails
/// closes its connection on HTTP/1.1, and resets its stream on HTTP/2; one that answers errors
/// itself, as [`Gateway`](crate::http::Gateway) does, is better.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be served by a listener",
    note = "a listener serves `Service<Request<hyper::body::Incoming>, Response = Response<B>>`, \
            with a `Send` body, that is `Clone + Send + 'static` and has a `Send + 'static` future"
)]
pub trait HttpService: Clone + Send + 'static {
    #[doc(hidden)]
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
    #[doc(hidden)]
    type Error: Into<BoxError>;
    #[doc(hidden)]
    type Future: Future<Output = Result<Response<Self::Body>, Self::Error>> + Send + 'static;

    #[doc(hidden)]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>>;

    #[doc(hidden)]
    fn call(&mut self, request: Request<Incoming>) -> Self::Future;
}

impl<S, B> HttpService for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Service::poll_ready(self, cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> S::Future {
        Service::call(self, request)
    }
}

/// The service of one connection, as hyper calls it.
pub(super) struct Exchanges<S> {
    service: S,
    extensions: Extensions,
    activity: Arc<Activity>,
}

/// What each request of a connection gets.
pub(super) struct Extensions {
    pub(super) info: ConnectionInfo,
    pub(super) client: Option<ClientConnection>,
}

impl<S> Exchanges<S> {
    pub(super) fn new(service: S, extensions: Extensions, activity: Arc<Activity>) -> Self {
        Self { service, extensions, activity }
    }
}

impl<S: HttpService> hyper::service::Service<Request<Incoming>> for Exchanges<S> {
    type Response = Response<HeldBody<S::Body, InFlight>>;
    type Error = S::Error;
    type Future = Exchange<S>;

    fn call(&self, mut request: Request<Incoming>) -> Exchange<S> {
        let in_flight = InFlight::begin(&self.activity);
        self.extensions.insert_into(&mut request);
        let (version, is_connect) = (request.version(), request.method() == Method::CONNECT);
        let state = State::Waiting { service: self.service.clone(), request: Some(request) };
        Exchange { state, in_flight: Some(in_flight), version, is_connect }
    }
}

impl Extensions {
    fn insert_into(&self, request: &mut Request<Incoming>) {
        let extensions = request.extensions_mut();
        if let Some(client) = &self.client {
            extensions.insert(client.clone());
        }
        #[cfg(feature = "tls")]
        if let Some(details) = self.info.tls() {
            extensions.insert::<TlsDetails>(details.clone());
        }
        extensions.insert(self.info.clone());
    }
}

pin_project! {
    /// One request and its response.
    pub(super) struct Exchange<S: HttpService> {
        #[pin]
        state: State<S, S::Future>,
        // `None` once the response has it.
        in_flight: Option<InFlight>,
        version: Version,
        is_connect: bool,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F> {
        /// The service is not ready.
        Waiting { service: S, request: Option<Request<Incoming>> },
        Called { #[pin] response: F },
    }
}

impl<S: HttpService> Future for Exchange<S> {
    type Output = Result<Response<HeldBody<S::Body, InFlight>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else { polled_after_completion("Exchange") };
                    let response = service.call(request);
                    this.state.set(State::Called { response });
                }
                StateProjection::Called { response } => {
                    let mut response = ready!(response.poll(cx))?;
                    let Some(in_flight) = this.in_flight.take() else {
                        polled_after_completion("Exchange")
                    };
                    let activity = &in_flight.0;
                    if *this.version < Version::HTTP_2 {
                        activity.close_after(&mut response);
                    } else if *this.is_connect && response.status().is_success() {
                        activity.open_tunnel();
                    }
                    return Poll::Ready(Ok(HeldBody::hold(response, in_flight)));
                }
            }
        }
    }
}

impl Activity {
    /// Announces on HTTP/1.1 that no further request is wanted.
    fn close_after<B>(&self, response: &mut Response<B>) {
        let is_old = self.is_older(self.core.limits.times.age);
        if is_old {
            self.retire();
        }
        // One that switches protocols has another use for the field.
        if self.is_retiring() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A request in flight: from its head to the end of its response.
#[derive(Debug)]
pub(in crate::listener) struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        let number = activity.begin_request();
        let is_last = activity.core.limits.requests.is_some_and(|limit| number >= limit);
        // While the listener drains, a connection may have its first request, and no second one.
        if is_last || number == 1 && activity.core.phase() > Phase::Serving {
            activity.retire();
        }
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end_request();
    }
}
