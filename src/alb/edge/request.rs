use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, Method, Request, Response, request::Parts};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    filter::RequestFilter,
    forwarded::{ClientAddress, set_forwarded},
    host::set_host_port,
    refusal::Refusal,
    trace_id::set_trace_id,
};
use crate::{
    header_fields::remove_if,
    hop_by_hop::describes_user,
    http::{ClientConnection, GatewayBody, own_response},
    rng::Rng,
};

/// The attributes of a load balancer that concern requests.
#[derive(Clone, Debug, Default)]
pub(in crate::alb) struct RequestSettings {
    pub(in crate::alb) client_address: ClientAddress,
    /// Whether `Host` passes as the client sent it.
    pub(in crate::alb) preserve_host: bool,
    /// Whether fields with other names than `[-A-Za-z0-9]+` are removed.
    pub(in crate::alb) drop_invalid_fields: bool,
    pub(in crate::alb) filter: Option<RequestFilter>,
}

/// Wraps the rules in [`RequestEdge`].
#[derive(Clone, Debug)]
pub(in crate::alb) struct RequestEdgeLayer(Arc<RequestSettings>);

impl RequestEdgeLayer {
    pub(in crate::alb) fn new(settings: RequestSettings) -> Self {
        Self(Arc::new(settings))
    }
}

impl<S> Layer<S> for RequestEdgeLayer {
    type Service = RequestEdge<S>;

    fn layer(&self, inner: S) -> RequestEdge<S> {
        RequestEdge { inner, settings: Arc::clone(&self.0) }
    }
}

/// Refuses requests that no rule sees, and gives the others the load balancer's fields.
#[derive(Clone, Debug)]
pub(in crate::alb) struct RequestEdge<S> {
    inner: S,
    settings: Arc<RequestSettings>,
}

impl<S, B, R> Service<Request<B>> for RequestEdge<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<GatewayBody<R>>;
    type Error = S::Error;
    type Future = RequestEdgeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.settings.prepare(&mut head) {
            Ok(()) => {
                let response = self.inner.call(Request::from_parts(head, body));
                RequestEdgeFuture::Forwarded { response }
            }
            Err(refusal) => RequestEdgeFuture::Refused { refusal },
        }
    }
}

impl RequestSettings {
    fn prepare(&self, head: &mut Parts) -> Result<(), Refusal> {
        if head.method == Method::TRACE {
            return Err(Refusal::TraceNotAllowed);
        }
        // Only a rule with a login may say who a user is.
        remove_if(&mut head.headers, describes_user);
        if self.drop_invalid_fields {
            remove_if(&mut head.headers, |name| !is_valid(name));
        }
        let connection = head.extensions.get::<ClientConnection>();
        set_forwarded(&mut head.headers, self.client_address, connection)?;
        if let Some(connection) = connection.filter(|_| !self.preserve_host) {
            set_host_port(&mut head.headers, connection);
        }
        // A trace id has to be unique and not secret.
        set_trace_id(&mut head.headers, &mut Rng::from_entropy());
        self.filter.as_ref().map_or(Ok(()), |filter| filter.check(head))
    }
}

/// The names that the attribute `routing.http.drop_invalid_header_fields.enabled` leaves.
fn is_valid(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric())
}

pin_project! {
    /// The response future of [`RequestEdge`].
    #[project = RequestEdgeProjection]
    pub(in crate::alb) enum RequestEdgeFuture<F> {
        Forwarded { #[pin] response: F },
        Refused { refusal: Refusal },
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for RequestEdgeFuture<F> {
    type Output = Result<Response<GatewayBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            RequestEdgeProjection::Forwarded { response } => {
                ready!(response.poll(cx)).map(|response| response.map(GatewayBody::endpoint))
            }
            RequestEdgeProjection::Refused { refusal } => Ok(own_response(refusal.respond())),
        })
    }
}
