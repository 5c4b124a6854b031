use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderName, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use pin_project_lite::pin_project;

use super::{
    refusal::Refusal,
    request_body::{BodyFailure, RequestBodyError},
    tunnel::Tunnels,
    upgrade::Upgrade,
};
use crate::{future::polled_after_completion, hop_by_hop::HopByHop, http::GatewayBody};

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
            failure: Option<BodyFailure>,
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
        failure: Option<BodyFailure>,
        upgrade: Option<(Upgrade, Tunnels)>,
    ) -> Self {
        Self { state: State::Forwarded { response, failure, upgrade }, version }
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
        let refused = |refusal: Refusal| Ok(refusal.respond(version).map(GatewayBody::text));
        let (response, failure, upgrade) = match this.state.project() {
            StateProjection::Refused { refusal } => {
                let Some(refusal) = refusal.take() else { polled_after_completion("ProxyFuture") };
                return Poll::Ready(refused(refusal));
            }
            StateProjection::Forwarded { response, failure, upgrade } => {
                (ready!(response.poll(cx)), failure, upgrade)
            }
        };
        // A body that exceeds a limit fails the request at the endpoint in one way or another. The
        // client learns the reason. A success means that the endpoint did not need the body.
        let failure = failure.as_ref().and_then(|failure| failure.get());
        let failed = !response.as_ref().is_ok_and(|response| response.status().is_success());
        if let (Some(failure), true) = (failure, failed) {
            return Poll::Ready(refused(match failure {
                RequestBodyError::TooLarge { .. } => Refusal::BodyTooLarge,
                RequestBodyError::Stalled { .. } => Refusal::BodyTimeout,
            }));
        }
        Poll::Ready(match response {
            Ok(response) => match finish(response, upgrade.take()) {
                Ok(response) => Ok(response),
                Err(refusal) => {
                    if let Refusal::Upgrade(reason) = refusal {
                        tracing::warn!(reason, "upgrade failed");
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
    const PROXY_FIELDS: [HeaderName; 2] =
        [header::PROXY_AUTHENTICATE, HeaderName::from_static("proxy-authentication-info")];
    HopByHop::of(response.headers()).remove_from(response.headers_mut());
    for name in PROXY_FIELDS {
        response.headers_mut().remove(name);
    }
    *response.version_mut() = Version::HTTP_11;
    let accepted = match &upgrade {
        Some((upgrade, _)) => upgrade.is_accepted(&mut response)?,
        None if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            return Err(Refusal::Upgrade("the endpoint switched protocols without being asked"));
        }
        None => false,
    };
    let Some((upgrade, tunnels)) = upgrade.filter(|_| accepted) else {
        return Ok(response.map(GatewayBody::endpoint));
    };
    let endpoint = response.extensions_mut().remove::<OnUpgrade>();
    let endpoint =
        endpoint.ok_or(Refusal::Upgrade("the endpoint's client cannot switch protocols"))?;
    // The body is empty, but it holds the attempt: the endpoint has the request in flight until
    // the tunnel drops it.
    let (head, body) = response.into_parts();
    if !tunnels.open(upgrade.into_client(), endpoint, body) {
        return Err(Refusal::Upgrade("there is no runtime for the tunnel"));
    }
    Ok(Response::from_parts(head, GatewayBody::default()))
}

impl<F> fmt::Debug for ProxyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyFuture").finish_non_exhaustive()
    }
}
