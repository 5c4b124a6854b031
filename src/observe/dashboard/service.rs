use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{self, HeaderName},
};
use http_body::Body as HttpBody;
use serde_json::json;
use tower_service::Service;

use super::{
    action::{Action, ActionError, Actions, Denied},
    assets::Asset,
    body::Body,
    builder::DashboardBuilder,
    feed::Feed,
    future::ResponseFuture,
    guard::{self, Guard},
    respond,
};
#[cfg(feature = "metrics")]
use crate::observe::metrics::Exporter;
use crate::{BoxError, observe::Registry};

/// Serves the page, the report and the events; see the [module](super). Clones share all state.
///
/// The events need tokio's runtime, with its timer.
#[derive(Clone, Debug)]
pub struct Dashboard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) feed: Arc<Feed>,
    #[cfg(feature = "metrics")]
    pub(super) exporter: Exporter,
    pub(super) guard: Guard,
    pub(super) actions: Option<Actions>,
}

const READ: &str = "GET, HEAD";
const READ_AND_ACT: &str = "GET, HEAD, POST";

impl Dashboard {
    /// Creates a read-only dashboard of the components of a registry, with the defaults of
    /// [`DashboardBuilder`].
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        DashboardBuilder::new(registry).build_default()
    }

    /// Configures a dashboard of the components of a registry.
    #[must_use]
    pub fn builder(registry: &Registry) -> DashboardBuilder {
        DashboardBuilder::new(registry)
    }
}

impl From<Shared> for Dashboard {
    fn from(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

impl<B> Service<Request<B>> for Dashboard
where
    B: HttpBody<Error: Into<BoxError>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<B> {
        let (head, body) = request.into_parts();
        match self.shared.respond(&head) {
            Some(response) => ResponseFuture::ready(response),
            None => ResponseFuture::reading(Arc::clone(&self.shared), body),
        }
    }
}

impl Shared {
    /// Returns the response, or `None` if it depends on the body.
    fn respond(&self, head: &http::request::Parts) -> Option<Response<Body>> {
        let (path, headers) = (head.uri.path(), &head.headers);
        if !self.guard.allows_host(&head.uri, headers) {
            let message = "this host is not one of the allowed hosts of the dashboard";
            return Some(respond::error(StatusCode::FORBIDDEN, message));
        }
        let is_events = path == "/api/events";
        let asset = Asset::at(path);
        let is_metrics = cfg!(feature = "metrics") && path == "/metrics";
        let is_api = is_events || matches!(path, "/api/report" | "/api/actions");
        if asset.is_none() && !is_api && !is_metrics {
            return Some(respond::error(StatusCode::NOT_FOUND, "no such page"));
        }
        if path == "/api/actions" && head.method == Method::POST && self.actions.is_some() {
            return self.reject_action(head);
        }
        let is_head = head.method == Method::HEAD;
        if head.method != Method::GET && !is_head {
            let can_act = path == "/api/actions" && self.actions.is_some();
            return Some(respond::method_not_allowed(if can_act { READ_AND_ACT } else { READ }));
        }
        let mut response = match asset {
            Some(asset) => file(&asset, headers),
            // Keeps pages of other sites from taking the streams, where browsers name the site.
            None if is_events && !guard::is_same_origin(&head.uri, headers) => {
                respond::error(StatusCode::FORBIDDEN, "the request comes from another site")
            }
            None if is_events => self.events(is_head),
            None if path == "/api/report" => self.report(),
            #[cfg(feature = "metrics")]
            None if is_metrics => {
                respond::full(StatusCode::OK, Exporter::CONTENT_TYPE, self.exporter.render())
            }
            None => respond::full(StatusCode::OK, respond::JSON, self.granted()),
        };
        if is_head {
            *response.body_mut() = Body::empty();
        }
        Some(response)
    }

    fn report(&self) -> Response<Body> {
        let report = self.feed.report();
        let status = match report.failed {
            true => StatusCode::INTERNAL_SERVER_ERROR,
            false => StatusCode::OK,
        };
        respond::full(status, respond::JSON, report.json)
    }

    fn events(&self, is_head: bool) -> Response<Body> {
        let mut response = respond::empty(StatusCode::OK);
        if !is_head {
            let Some(stream) = self.feed.open() else {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut response = respond::error(status, "too many clients listen to events");
                respond::set(response.headers_mut(), header::RETRY_AFTER, "5");
                return response;
            };
            *response.body_mut() = Body::events(stream);
        }
        let headers = response.headers_mut();
        respond::set(headers, header::CONTENT_TYPE, "text/event-stream");
        respond::set(headers, header::CACHE_CONTROL, "no-cache");
        // nginx would keep events back until its buffer is full.
        respond::set(headers, HeaderName::from_static("x-accel-buffering"), "no");
        response
    }

    fn granted(&self) -> String {
        let actions = self.actions.iter().flat_map(|actions| &actions.granted);
        let granted: Vec<_> = actions.map(|kind| kind.name()).collect();
        json!({ "granted": granted, "token": self.guard.has_token() }).to_string()
    }

    /// Checks the head of a request for an action, before its body is read.
    fn reject_action(&self, head: &http::request::Parts) -> Option<Response<Body>> {
        if !guard::is_same_origin(&head.uri, &head.headers) {
            let message = "the request comes from another site";
            return Some(respond::error(StatusCode::FORBIDDEN, message));
        }
        if !self.guard.authenticates(&head.headers) {
            let mut response = respond::error(StatusCode::UNAUTHORIZED, "actions need the token");
            respond::set(response.headers_mut(), header::WWW_AUTHENTICATE, "Bearer");
            return Some(response);
        }
        if !guard::is_json(&head.headers) {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Some(respond::error(status, "`Content-Type` is not application/json"));
        }
        None
    }

    /// Performs the action that a body describes.
    pub(super) fn act(&self, body: &[u8]) -> Response<Body> {
        let Some(actions) = &self.actions else { return respond::method_not_allowed(READ) };
        let action: Action = match serde_json::from_slice(body) {
            Ok(action) => action,
            Err(error) => return respond::error(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match actions.perform(action) {
            Ok(()) => respond::full(StatusCode::OK, respond::JSON, r#"{"done":true}"#),
            Err(Denied::NotGranted) => {
                respond::error(StatusCode::FORBIDDEN, "the program does not grant this action")
            }
            Err(Denied::Handler(error)) => {
                let status = match error {
                    ActionError::UnknownTarget => StatusCode::NOT_FOUND,
                    ActionError::Refused(_) => StatusCode::CONFLICT,
                    ActionError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
                };
                respond::error(status, &error.to_string())
            }
        }
    }
}

/// A file with its tag, which browsers ask about each time: another version of the crate may be
/// deployed at the same address.
fn file(asset: &Asset, headers: &HeaderMap) -> Response<Body> {
    let mut response = match asset.is_known(headers) {
        true => respond::empty(StatusCode::NOT_MODIFIED),
        false => respond::full(StatusCode::OK, asset.content_type(), asset.content()),
    };
    let headers = response.headers_mut();
    respond::set(headers, header::CACHE_CONTROL, "no-cache");
    if let Ok(etag) = HeaderValue::try_from(asset.etag()) {
        headers.insert(header::ETAG, etag);
    }
    response
}
