use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::LOCATION, request::Parts};
use tower_service::Service;

use super::{ActionFuture, FixedResponse, Forward, Redirect};
use crate::{
    escape::Escaped,
    http::GatewayBody,
    http_semantics::text_response,
    rules::{MatchedRule, dispatch::Dispatch},
};

/// What becomes of a request: one of the actions of an Application Load Balancer.
///
/// It is a service, so that it can be that of a [`Rule`](crate::rules::Rule), alone or inside of
/// layers. It is always ready: a request that is forwarded waits for its group in the response
/// future.
///
/// The event "request forwarded", "request redirected" or "fixed response" is logged at `DEBUG`,
/// with the name of the rule.
pub enum Action<S> {
    /// To a group of endpoints.
    Forward(Forward<S>),
    /// To another URL.
    Redirect(Redirect),
    /// A response of its own.
    FixedResponse(FixedResponse),
}

impl<S, B, R> Service<Request<B>> for Action<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GatewayBody<R>>;
    type Error = S::Error;
    type Future = ActionFuture<S, Request<B>>;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let forward = match self {
            Self::Forward(forward) => forward,
            Self::Redirect(redirect) => {
                let (head, _) = request.into_parts();
                let response = redirect.response(&head);
                log_answer(&head, &response, "request redirected");
                return ActionFuture::answered(response);
            }
            Self::FixedResponse(fixed) => {
                let (head, _) = request.into_parts();
                let response = fixed.response();
                log_answer(&head, &response, "fixed response");
                return ActionFuture::answered(response);
            }
        };
        let Some(choice) = forward.choose(request.headers()) else {
            let text = "no group of endpoints has a weight above 0\n";
            let response = text_response(StatusCode::SERVICE_UNAVAILABLE, text, None);
            log_answer(&request.into_parts().0, &response, "no group has a weight above 0");
            return ActionFuture::answered(response);
        };
        let rule = request.extensions().get().map_or("", MatchedRule::name);
        tracing::debug!(
            rule = %Escaped(rule),
            group = %Escaped(choice.group),
            "request forwarded"
        );
        let dispatch = Dispatch::new(choice.service.clone(), request);
        ActionFuture::forwarded(dispatch, choice.cookies)
    }
}

fn log_answer(head: &Parts, response: &Response<Bytes>, message: &str) {
    let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
    tracing::debug!(
        rule = %Escaped(head.extensions.get().map_or("", MatchedRule::name)),
        status = response.status().as_u16(),
        location = location.map(|url| String::from_utf8_lossy(url)).as_deref(),
        "{message}"
    );
}

impl<S> Clone for Action<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Forward(forward) => Self::Forward(forward.clone()),
            Self::Redirect(redirect) => Self::Redirect(redirect.clone()),
            Self::FixedResponse(response) => Self::FixedResponse(response.clone()),
        }
    }
}

impl<S> From<Forward<S>> for Action<S> {
    fn from(forward: Forward<S>) -> Self {
        Self::Forward(forward)
    }
}

impl<S> From<Redirect> for Action<S> {
    fn from(redirect: Redirect) -> Self {
        Self::Redirect(redirect)
    }
}

impl<S> From<FixedResponse> for Action<S> {
    fn from(response: FixedResponse) -> Self {
        Self::FixedResponse(response)
    }
}

impl<S> fmt::Debug for Action<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Action({self})")
    }
}

/// For people: "forward to stable 90, canary 10".
impl<S> fmt::Display for Action<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(forward) => write!(f, "forward {forward}"),
            Self::Redirect(redirect) => write!(f, "redirect {redirect}"),
            Self::FixedResponse(response) => {
                write!(f, "fixed response {}", response.status().as_u16())
            }
        }
    }
}
