#[cfg(not(any(feature = "jwt", feature = "oidc")))]
use std::future::Pending;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

#[cfg(any(feature = "jwt", feature = "oidc"))]
use crate::auth::AuthFuture;
#[cfg(feature = "jwt")]
use crate::auth::jwt::Jwt;
#[cfg(feature = "oidc")]
use crate::auth::oidc::{Oidc, OidcLayer};
use crate::{
    http::GatewayBody,
    rules::{Action, ActionFuture},
};

/// What a rule does: its action, behind the authentication that the rule asks for.
#[derive(Clone)]
pub(super) enum RuleService<S> {
    Plain(Action<S>),
    #[cfg(feature = "jwt")]
    Jwt(Jwt<Action<S>>),
    #[cfg(feature = "oidc")]
    Oidc {
        /// Knows which logins it has begun.
        layer: OidcLayer,
        service: Oidc<Action<S>>,
    },
}

impl<S> RuleService<S> {
    /// Returns whether a request is the end of a login that this rule has begun.
    pub(super) fn finishes_login<B>(&self, request: &Request<B>) -> bool {
        match self {
            #[cfg(feature = "oidc")]
            Self::Oidc { layer, .. } => layer.finishes(request),
            _ => {
                let _ = request;
                false
            }
        }
    }

    /// Returns whether clients have to log in.
    pub(super) fn has_login(&self) -> bool {
        match self {
            #[cfg(feature = "oidc")]
            Self::Oidc { .. } => true,
            _ => false,
        }
    }
}

impl<S, B, R> Service<Request<B>> for RuleService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GatewayBody<GatewayBody<R>>>;
    type Error = S::Error;
    #[cfg(any(feature = "jwt", feature = "oidc"))]
    type Future = RuleFuture<ActionFuture<S, Request<B>>, AuthFuture<Action<S>, B>>;
    // Without them, there is no service with authentication and no future of one.
    #[cfg(not(any(feature = "jwt", feature = "oidc")))]
    type Future = RuleFuture<ActionFuture<S, Request<B>>, Pending<RuleResult<R, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match self {
            Self::Plain(action) => action.poll_ready(cx),
            #[cfg(feature = "jwt")]
            Self::Jwt(jwt) => jwt.poll_ready(cx),
            #[cfg(feature = "oidc")]
            Self::Oidc { service, .. } => service.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self {
            Self::Plain(action) => RuleFuture::Plain { response: action.call(request) },
            #[cfg(feature = "jwt")]
            Self::Jwt(jwt) => RuleFuture::Authenticated { response: jwt.call(request) },
            #[cfg(feature = "oidc")]
            Self::Oidc { service, .. } => {
                RuleFuture::Authenticated { response: service.call(request) }
            }
        }
    }
}

type RuleResult<R, E> = Result<Response<GatewayBody<GatewayBody<R>>>, E>;

pin_project! {
    /// The response future of [`RuleService`].
    #[project = RuleProjection]
    pub(super) enum RuleFuture<P, A> {
        Plain { #[pin] response: P },
        Authenticated { #[pin] response: A },
    }
}

impl<P, A, R, E> Future for RuleFuture<P, A>
where
    P: Future<Output = Result<Response<GatewayBody<R>>, E>>,
    A: Future<Output = RuleResult<R, E>>,
{
    type Output = RuleResult<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RuleProjection::Plain { response } => {
                let response = ready!(response.poll(cx))?;
                Poll::Ready(Ok(response.map(GatewayBody::endpoint)))
            }
            RuleProjection::Authenticated { response } => response.poll(cx),
        }
    }
}

impl<S> fmt::Debug for RuleService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleService").finish_non_exhaustive()
    }
}
