use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, Version, header, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::{
    builder::Settings,
    client_version::ClientVersion,
    future::ProxyFuture,
    refusal::Refusal,
    request_body::RequestBody,
    screen::{count_forward, screen, screen_named},
    target,
    tunnel::Tunnels,
    upgrade::{Upgrade, UpgradePolicy},
};
use crate::{BoxError, header_fields::has_token, hop_by_hop::HopByHop, http::GatewayBody};

/// Forwards requests by the rules for intermediaries; made by [`ProxyLayer`](super::ProxyLayer).
///
/// It refuses a request with status 400, 405, 408, 413, 414, 417, 431 or 501 if it may not be
/// forwarded, and changes all others:
///
/// - **Version.** The forwarded request is HTTP/1.1, and so is the response; client and server
///   write them in the version of their connection.
/// - **Host and target.** One `Host`, from the target if that has one, and the target in origin
///   form. An HTTP/1.1 or HTTP/2 request without a host is refused, and one with several.
/// - **Fields of the connection** are removed from requests and responses: those of RFC 9110
///   section 7.6.1, those that `Connection` names, and the ones of proxy authentication.
///   `TE: trailers` stays, because the balancer's client may support them.
/// - **Framing.** A `Content-Length` stays only if it is the length of the body. A `POST`, `PUT` or
///   `PATCH` without a body gets `Content-Length: 0`.
/// - **`Expect: 100-continue`** is removed: a server on HTTP/1.1 sends `100` when the endpoint's
///   client reads the body. Hyper's server sends none on HTTP/2.
/// - **Trailers** lose the fields that have no place there, in both directions.
/// - **Forwarding fields**: [`ForwardedFields`](super::ForwardedFields), `Via`, a request id.
///   `traceparent` passes.
/// - **Cookies** that HTTP/2 has split are joined.
/// - **Upgrades** become tunnels, if [`upgrades`](super::ProxyBuilder::upgrades) is set. A client
///   on HTTP/2 asks by extended `CONNECT` (RFC 8441); the endpoint is always asked as on HTTP/1.1.
///   An endpoint that switches to another protocol gets the client status 502.
///
/// The inner service gets requests with a [`RequestBody`]. The proxy's own responses are one line
/// of text. Put it outside of [`Gateway`](crate::http::Gateway), so that it sees that one's responses.
/// The server inserts a [`ClientConnection`](super::ClientConnection) into each request, and calls
/// a clone for each: a refused request leaves what `poll_ready` has reserved to the clone.
#[derive(Clone, Debug)]
pub struct Proxy<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Proxy<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Proxy<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body<Error: Into<BoxError>>,
    R: Send + 'static,
{
    type Response = Response<GatewayBody<R>>;
    type Error = S::Error;
    type Future = ProxyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let version = head.version;
        let upgrade = match self.settings.prepare(&mut head, &body) {
            Ok(upgrade) => upgrade,
            Err(refusal) => {
                refusal.log(&head);
                return ProxyFuture::refused(refusal, version);
            }
        };
        let settings = &self.settings;
        let (body, exchange) = RequestBody::new(body, settings.max_body, settings.body_idle);
        let tunnels = || Some(settings.upgrades.as_ref()?.1.clone());
        let upgrade = upgrade.and_then(|upgrade| Some((upgrade, tunnels()?)));
        let response = self.inner.call(Request::from_parts(head, body));
        ProxyFuture::forwarded(response, version, exchange, upgrade)
    }
}

impl Settings {
    /// Gives the head of a request the form in which it is forwarded.
    fn prepare(&self, head: &mut Parts, body: &impl Body) -> Result<Option<Upgrade>, Refusal> {
        screen(head, &self.limits)?;
        if self.max_body.is_some_and(|max| body.size_hint().lower() > max) {
            return Err(Refusal::BodyTooLarge);
        }
        count_forward(head)?;
        target::normalize(head)?;
        let policy = self.upgrades.as_ref().map(|(policy, _)| policy);
        let upgrade = UpgradePolicy::upgrade_of(policy, head, !body.is_end_stream())?;

        let is_draining = |(_, tunnels): &(_, Tunnels)| tunnels.is_closed();
        if upgrade.is_some() && self.upgrades.as_ref().is_some_and(is_draining) {
            return Err(Refusal::Draining);
        }

        let fields = HopByHop::of(&head.headers);
        screen_named(&fields)?;
        // The only meaning of `TE` that can be forwarded.
        let takes_trailers = has_token(&head.headers, &header::TE, "trailers");
        // A client that connects through an endpoint authenticates itself there.
        let is_connect = upgrade.as_ref().is_some_and(Upgrade::is_connect);
        let password = is_connect.then(|| head.headers.remove(header::PROXY_AUTHORIZATION));
        fields.remove_from(&mut head.headers);
        if takes_trailers {
            head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        if let Some(password) = password.flatten() {
            head.headers.insert(header::PROXY_AUTHORIZATION, password);
        }
        head.headers.remove(header::EXPECT);
        frame(head, body);
        target::join_cookies(head);
        self.forwarding.apply(head);
        if let Some(upgrade) = &upgrade {
            upgrade.ask(head);
        }
        ClientVersion::keep(head);
        head.version = Version::HTTP_11;
        Ok(upgrade)
    }
}

/// Makes `Content-Length` agree with the body, whatever the client has declared.
fn frame(head: &mut Parts, body: &impl Body) {
    let declares_empty = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match body.size_hint().exact() {
        // Only for these methods do servers demand a length (RFC 9110, 8.6).
        Some(0) if declares_empty => {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(0) | None => {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        Some(length) => {
            head.headers.insert(header::CONTENT_LENGTH, length.into());
        }
    }
}
