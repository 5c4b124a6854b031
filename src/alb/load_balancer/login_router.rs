use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::rule_service::RuleService;
use crate::{
    BoxError,
    rules::{Rules, RulesFuture},
};

/// Sends the end of a login to the rule that has begun it, and all other requests through the
/// rules.
///
/// The path at which a login ends is not that of the request that began it, so no condition of a
/// rule could find it.
#[derive(Clone)]
pub(super) struct LoginRouter<S> {
    rules: Rules<RuleService<S>>,
    /// The services of the rules with a login.
    logins: Arc<[RuleService<S>]>,
}

impl<S> LoginRouter<S> {
    pub(super) fn new(rules: Rules<RuleService<S>>, logins: Vec<RuleService<S>>) -> Self {
        Self { rules, logins: logins.into() }
    }

    pub(super) fn rules(&self) -> &Rules<RuleService<S>> {
        &self.rules
    }
}

impl<S, B> Service<Request<B>> for LoginRouter<S>
where
    RuleService<S>: Service<Request<B>, Error: Into<BoxError>> + Clone,
{
    type Response = <RuleService<S> as Service<Request<B>>>::Response;
    type Error = BoxError;
    type Future = LoginFuture<
        <RuleService<S> as Service<Request<B>>>::Future,
        RulesFuture<RuleService<S>, Request<B>>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request<B>>::poll_ready(&mut self.rules, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.logins.iter().find(|login| login.finishes_login(&request)) {
            // A service with a login is ready: it waits in its future.
            Some(login) => LoginFuture::Login { response: login.clone().call(request) },
            None => LoginFuture::Rules { response: self.rules.call(request) },
        }
    }
}

pin_project! {
    /// The response future of [`LoginRouter`].
    #[project = LoginProjection]
    pub(super) enum LoginFuture<L, R> {
        Login { #[pin] response: L },
        Rules { #[pin] response: R },
    }
}

impl<L, R, T, E> Future for LoginFuture<L, R>
where
    L: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
    R: Future<Output = Result<T, BoxError>>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            LoginProjection::Login { response } => {
                Poll::Ready(ready!(response.poll(cx)).map_err(Into::into))
            }
            LoginProjection::Rules { response } => response.poll(cx),
        }
    }
}

impl<S> fmt::Debug for LoginRouter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRouter").field("rules", &self.rules).finish_non_exhaustive()
    }
}
