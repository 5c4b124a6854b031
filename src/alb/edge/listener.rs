use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::responses::ResponseCounters;
use crate::{http::ClientConnection, http_semantics::FromGateway};

/// The attributes of a listener that concern requests and responses.
#[derive(Clone, Debug, Default)]
pub(in crate::alb) struct ListenerSettings {
    /// The port that clients connect to, if it is not the one that is bound.
    pub(in crate::alb) port: Option<u16>,
    /// The value of `Server` in responses of the load balancer itself; `None` removes the field
    /// from all responses.
    pub(in crate::alb) server: Option<HeaderValue>,
    /// Fields that replace those of the target, such as `Strict-Transport-Security`.
    pub(in crate::alb) fields: Vec<(HeaderName, HeaderValue)>,
    /// Counts the responses, also those of settings before.
    pub(in crate::alb) responses: Arc<ResponseCounters>,
}

/// Wraps the service of a listener in [`ListenerEdge`].
#[derive(Clone, Debug)]
pub(in crate::alb) struct ListenerEdgeLayer(Arc<ListenerSettings>);

impl ListenerEdgeLayer {
    pub(in crate::alb) fn new(settings: ListenerSettings) -> Self {
        Self(Arc::new(settings))
    }
}

impl<S> Layer<S> for ListenerEdgeLayer {
    type Service = ListenerEdge<S>;

    fn layer(&self, inner: S) -> ListenerEdge<S> {
        ListenerEdge { inner, settings: Arc::clone(&self.0) }
    }
}

/// Gives requests the port of the listener, and responses the status and the fields that they have
/// at an Application Load Balancer. Counts responses.
#[derive(Clone, Debug)]
pub(in crate::alb) struct ListenerEdge<S> {
    inner: S,
    settings: Arc<ListenerSettings>,
}

impl<S, B, R> Service<Request<B>> for ListenerEdge<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ListenerEdgeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(port) = self.settings.port {
            set_port(&mut request, port);
        }
        let response = self.inner.call(request);
        ListenerEdgeFuture {
            response,
            waiting: Waiting { settings: Some(Arc::clone(&self.settings)) },
        }
    }
}

pin_project! {
    /// The response future of [`ListenerEdge`].
    pub(in crate::alb) struct ListenerEdgeFuture<F> {
        #[pin]
        response: F,
        waiting: Waiting,
    }
}

/// A client that waits for its response. Logs status 460 if it is dropped before there is a
/// response: the listener drops a request when its client has gone, or when the limit of a drain
/// has passed.
///
/// This is the only place that can tell. Further inside, a request is also dropped when a hedge has
/// lost or an attempt has taken too long.
struct Waiting {
    /// `None` once there is a response.
    settings: Option<Arc<ListenerSettings>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // The ALB's status in its logs; no response has it.
            let (status, port) = (460, settings.port);
            tracing::debug!(status, port, "the connection ended before the response");
        }
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for ListenerEdgeFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx));
        if let (Some(settings), Ok(response)) = (this.waiting.settings.take(), &mut response) {
            settings.apply(response);
        }
        Poll::Ready(response)
    }
}

/// Replaces the port that the client has connected to, which redirects and `X-Forwarded-Port` name.
fn set_port<B>(request: &mut Request<B>, port: u16) {
    if let Some(connection) = request.extensions().get::<ClientConnection>() {
        if connection.local().port() != port {
            let seen = connection.clone().at_port(port);
            request.extensions_mut().insert(seen);
        }
    }
}

impl ListenerSettings {
    fn apply<R>(&self, response: &mut Response<R>) {
        let is_own = response.extensions().get::<FromGateway>().is_some();
        // An Application Load Balancer has one status for what is wrong with a head.
        if is_own && response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        let headers = response.headers_mut();
        match &self.server {
            None => {
                headers.remove(header::SERVER);
            }
            Some(server) if is_own => {
                headers.insert(header::SERVER, server.clone());
            }
            Some(_) => {}
        }
        for (name, value) in &self.fields {
            headers.insert(name, value.clone());
        }
        self.responses.count(response.status(), is_own);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::{ServiceExt, service_fn};
    use tower_lb_test_support::logs::Logs;

    use super::*;

    fn applied(settings: &ListenerSettings, status: u16, is_own: bool) -> Response<()> {
        let response = Response::builder().status(status).header("server", "target");
        let mut response = response.header("x-frame-options", "none").body(()).unwrap();
        if is_own {
            response.extensions_mut().insert(FromGateway);
        }
        settings.apply(&mut response);
        response
    }

    #[test]
    fn only_own_responses_are_signed_and_have_the_status_of_the_table() {
        let server = Some(HeaderValue::from_static("tower-lb"));
        let settings = ListenerSettings { server, ..ListenerSettings::default() };
        let own = applied(&settings, 431, true);
        assert_eq!(
            (own.status().as_u16(), &own.headers()["server"]),
            (400, &"tower-lb".parse().unwrap())
        );
        let targets = applied(&settings, 431, false);
        assert_eq!(targets.status(), 431);
        assert_eq!(targets.headers()["server"], "target");
    }

    #[tokio::test]
    async fn only_a_request_that_is_dropped_before_its_response_is_460() {
        let (logs, _collecting) = Logs::collect();
        let edge = |answers: bool| {
            let service = service_fn(move |_: Request<()>| async move {
                if !answers {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(Response::new(()))
            });
            let settings = ListenerSettings { port: Some(443), ..ListenerSettings::default() };
            ListenerEdgeLayer::new(settings).layer(service)
        };
        edge(true).oneshot(Request::new(())).await.unwrap();
        assert!(logs.take().is_empty());
        let mut waiting = tokio_test::task::spawn(edge(false).oneshot(Request::new(())));
        assert!(waiting.poll().is_pending());
        drop(waiting);
        let gone = "the connection ended before the response status=460 port=443";
        assert_eq!(logs.take(), [gone]);
    }

    #[test]
    fn attributes_replace_and_remove_fields() {
        let field = (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        let settings = ListenerSettings { fields: vec![field], ..ListenerSettings::default() };
        let response = applied(&settings, 200, false);
        assert!(!response.headers().contains_key("server"));
        assert_eq!(response.headers()["x-frame-options"], "DENY");
    }
}
