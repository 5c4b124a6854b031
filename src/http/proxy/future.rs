use std::{
    fmt,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use pin_project_lite::pin_project;

use super::{
    refusal::Refusal,
    request_body::{Exchange, RequestBodyError},
    screen::has_unknown_coding,
    tunnel::Tunnels,
    upgrade::Upgrade,
};
use crate::{
    future::polled_after_completion,
    header_fields::remove_if,
    hop_by_hop::HopByHop,
    http::{GatewayBody, own_response},
    http_semantics::FromGateway,
};

pin_project! {
    /// The response future of [`Proxy`](crate::http::Proxy).
    pub struct ProxyFuture<F> {
        #[pin]
        state: State<F>,
        // Of the client's connection.
        version: Version,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Refused { refusal: Option<Refusal> },
        Forwarded {
            #[pin]
            response: F,
            exchange: Option<Arc<Exchange>>,
            upgrade: Option<(Upgrade, Tunnels)>,
        },
    }
}

impl<F> ProxyFuture<F> {
    pub(super) fn refused(refusal: Refusal, version: Version) -> Self {
        Self { state: State::Refused { refusal: Some(refusal) }, version }
    }

    pub(super) fn forwarded(
        response: F,
        version: Version,
        exchange: Option<Arc<Exchange>>,
        upgrade: Option<(Upgrade, Tunnels)>,
    ) -> Self {
        Self { state: State::Forwarded { response, exchange, upgrade }, version }
    }
}

impl<F, R, E> Future for ProxyFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Send + 'static,
{
    type Output = Result<Response<GatewayBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let version = *this.version;
        let refused = |refusal: Refusal| Ok(own_response(refusal.respond(version)));
        let (response, exchange, upgrade) = match this.state.project() {
            StateProjection::Refused { refusal } => {
                let Some(refusal) = refusal.take() else { polled_after_completion("ProxyFuture") };
                return Poll::Ready(refused(refusal));
            }
            StateProjection::Forwarded { response, exchange, upgrade } => {
                (ready!(response.poll(cx)), exchange, upgrade)
            }
        };
        // A body that exceeds a limit fails the request, and the client learns the reason. An
        // endpoint that has answered before is believed.
        if let Some(exchange) = exchange {
            exchange.answered.store(true, Relaxed);
        }
        let is_answer = response
            .as_ref()
            .is_ok_and(|response| response.extensions().get::<FromGateway>().is_none());
        let failure = exchange.as_ref().and_then(|exchange| exchange.failure.get());
        if let Some(failure) = failure.filter(|_| !is_answer) {
            return Poll::Ready(refused(match failure {
                RequestBodyError::TooLarge { .. } => Refusal::BodyTooLarge,
                RequestBodyError::Stalled { .. } => Refusal::BodyTimeout,
            }));
        }
        Poll::Ready(match response {
            Ok(response) => match finish(response, upgrade.take()) {
                Ok(response) => Ok(response),
                Err(refusal) => {
                    if let Refusal::BadGateway(reason) = refusal {
                        tracing::warn!(reason, "response refused");
                    }
                    refused(refusal)
                }
            },
            Err(error) => Err(error),
        })
    }
}

/// Gives a response the form in which it is forwarded, and opens its tunnel.
fn finish<R: Send + 'static>(
    mut response: Response<R>,
    upgrade: Option<(Upgrade, Tunnels)>,
) -> Result<Response<GatewayBody<R>>, Refusal> {
    frame(response.status(), response.headers_mut())?;
    let protocol = response.headers_mut().remove(header::UPGRADE);
    let is_connect = upgrade.as_ref().is_some_and(|(upgrade, _)| upgrade.is_connect());
    // Without `CONNECT`, the client has no proxy that it could authenticate itself to.
    if !is_connect && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(Refusal::BadGateway("the endpoint demands proxy authentication"));
    }
    let hop = HopByHop::of(response.headers());
    remove_if(response.headers_mut(), |name| {
        hop.contains(name) || !is_connect && is_proxy_authentication(name)
    });
    *response.version_mut() = Version::HTTP_11;
    let accepted = match &upgrade {
        Some((upgrade, _)) => upgrade.is_accepted(&mut response, protocol.as_ref())?,
        None if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return Err(Refusal::BadGateway("the endpoint switched protocols without being asked"));
        }
        None => false,
    };
    let Some((upgrade, tunnels)) = upgrade.filter(|_| accepted) else {
        return Ok(response.map(GatewayBody::endpoint));
    };
    let endpoint = response.extensions_mut().remove::<OnUpgrade>();
    let missing = Refusal::BadGateway("the endpoint's client cannot switch protocols");
    let endpoint = endpoint.ok_or(missing)?;
    // The body is empty, but it holds the attempt: the endpoint has the request in flight until
    // the tunnel drops it.
    let (head, body) = response.into_parts();
    if !tunnels.open(upgrade.into_client(), endpoint, body) {
        return Err(Refusal::BadGateway("there is no runtime for the tunnel"));
    }
    Ok(Response::from_parts(head, GatewayBody::default()))
}

fn is_proxy_authentication(name: &HeaderName) -> bool {
    matches!(name.as_str(), "proxy-authenticate" | "proxy-authentication-info")
}

/// Leaves one length, which agrees with what the endpoint's client has read (RFC 9112, 6.3).
fn frame(status: StatusCode, headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
        if has_unknown_coding(headers) {
            return Err(Refusal::BadGateway("the endpoint uses an unknown transfer coding"));
        }
    }
    // RFC 9110, 8.6: a response that switches protocols and one without content has none.
    if matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT) {
        headers.remove(header::CONTENT_LENGTH);
    }
    // The client has accepted repeated lengths because they are equal.
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        if let Some(length) = headers.remove(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, length);
        }
    }
    Ok(())
}

impl<F> fmt::Debug for ProxyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFuture").finish_non_exhaustive()
    }
}
