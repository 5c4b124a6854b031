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

impl<S, B, R> Service<Request<B>> for RuleService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GatewayBody<GatewayBody<R>>>;
    type Error = S::Error;
    type Future = RuleFuture<S, B>;

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

#[cfg(any(feature = "jwt", feature = "oidc"))]
pin_project! {
    /// The response future of [`RuleService`].
    #[project = RuleProjection]
    pub(super) enum RuleFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        Plain { #[pin] response: ActionFuture<S, Request<B>> },
        Authenticated { #[pin] response: AuthFuture<Action<S>, B> },
    }
}

#[cfg(not(any(feature = "jwt", feature = "oidc")))]
pin_project! {
    /// The response future of [`RuleService`].
    #[project = RuleProjection]
    pub(super) enum RuleFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        Plain { #[pin] response: ActionFuture<S, Request<B>> },
    }
}

impl<S, B, R> Future for RuleFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Output = Result<Response<GatewayBody<GatewayBody<R>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            RuleProjection::Plain { response } => {
                let response = ready!(response.poll(cx))?;
                Poll::Ready(Ok(response.map(GatewayBody::endpoint)))
            }
            #[cfg(any(feature = "jwt", feature = "oidc"))]
            RuleProjection::Authenticated { response } => response.poll(cx),
        }
    }
}

impl<S> fmt::Debug for RuleService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuleService").finish_non_exhaustive()
    }
}
