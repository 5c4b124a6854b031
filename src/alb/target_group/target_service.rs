use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{body::EndpointBody, function::ErasedFunction, idle_limit::IdleLimit};
use crate::{
    BoxError,
    health::Check,
    http::{Client, ClientFuture, IdleTimeoutFuture, IdleTimeoutLayer, ObservedBody, Origin, Pool},
    lambda::{AlbEvent, HttpFunction, HttpFunctionFuture},
};

/// Where a target is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TargetAddress {
    Http(Origin),
    /// The function of the group.
    Function,
}

/// Makes the services of targets.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) https: bool,
    /// The name in the certificates of targets, if it is not their address.
    pub(super) server_name: Option<Origin>,
    pub(super) pool: Pool,
    pub(super) idle_limit: IdleLimit,
    pub(super) function: Option<HttpFunction<ErasedFunction, AlbEvent>>,
}

impl Connector {
    pub(super) fn connect<B>(&self, address: &TargetAddress) -> TargetService<B>
    where
        B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let state = match (address, &self.function) {
            (TargetAddress::Function, Some(function)) => {
                State::Function { function: function.clone() }
            }
            (TargetAddress::Http(origin), _) => {
                let origin = self.origin(origin);
                State::Http { client: self.pool.client(origin.clone()), origin }
            }
            // The builder makes such an address only together with the function.
            (TargetAddress::Function, None) => State::Missing,
        };
        TargetService { state, idle_limit: self.idle_limit.clone() }
    }

    /// Returns the origin with the scheme of the group.
    fn origin(&self, origin: &Origin) -> Origin {
        let origin = origin.clone().secured(self.https);
        match (&self.server_name, origin.socket()) {
            (Some(name), Some(address)) => name.clone().at(address),
            _ => origin,
        }
    }
}

/// The service of a target: a pooled client, or a function. An exchange in which the target takes
/// no part for the idle timeout fails.
pub(super) struct TargetService<B> {
    state: State<B>,
    idle_limit: IdleLimit,
}

enum State<B> {
    Http { client: Client<ObservedBody<B>>, origin: Origin },
    Function { function: HttpFunction<ErasedFunction, AlbEvent> },
    Missing,
}

impl<B> TargetService<B> {
    /// Checks the target with a connection of its own, which is closed afterwards.
    pub(super) async fn check<C>(self, check: C, checks: Checks) -> Result<(), BoxError>
    where
        C: Check<Client<Full<Bytes>>> + Check<HttpFunction<ErasedFunction, AlbEvent>>,
    {
        match self.state {
            State::Http { origin, .. } => {
                let origin = checks.origin(origin);
                check.check(checks.pool.client(origin)).await
            }
            State::Function { function } => check.check(function).await,
            State::Missing => Err("the group has no function".into()),
        }
    }
}

/// The connections of health checks.
#[derive(Clone)]
pub(super) struct Checks {
    pub(super) pool: Pool,
    /// `None` for the protocol and the port of requests.
    pub(super) https: Option<bool>,
    pub(super) port: Option<u16>,
}

impl Checks {
    fn origin(&self, origin: Origin) -> Origin {
        let origin = match self.https {
            Some(https) => origin.secured(https),
            None => origin,
        };
        match self.port {
            Some(port) => origin.on_port(port),
            None => origin,
        }
    }
}

impl<B> Service<Request<B>> for TargetService<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<EndpointBody>;
    type Error = BoxError;
    type Future = TargetFuture<B>;

    /// Clients and functions are always ready.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> TargetFuture<B> {
        let idle_timeout = IdleTimeoutLayer::new(self.idle_limit.get());
        match &mut self.state {
            State::Http { client, .. } => {
                TargetFuture::Http { response: idle_timeout.layer(client).call(request) }
            }
            State::Function { function } => {
                TargetFuture::Function { response: idle_timeout.layer(function).call(request) }
            }
            State::Missing => TargetFuture::Missing,
        }
    }
}

type FunctionFuture<B> = HttpFunctionFuture<ErasedFunction, AlbEvent, ObservedBody<B>>;

pin_project! {
    /// The response future of a [`TargetService`].
    #[project = TargetFutureProjection]
    pub(super) enum TargetFuture<B> {
        Http { #[pin] response: IdleTimeoutFuture<ClientFuture<ObservedBody<B>>> },
        Function { #[pin] response: IdleTimeoutFuture<FunctionFuture<B>> },
        Missing,
    }
}

impl<B> Future for TargetFuture<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Output = Result<Response<EndpointBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project() {
            TargetFutureProjection::Http { response } => {
                ready!(response.poll(cx)).map(|response| response.map(EndpointBody::http))
            }
            TargetFutureProjection::Function { response } => {
                ready!(response.poll(cx)).map(|response| response.map(EndpointBody::function))
            }
            TargetFutureProjection::Missing => Err("the group has no function".into()),
        })
    }
}

impl<B> Clone for TargetService<B> {
    fn clone(&self) -> Self {
        let state = match &self.state {
            State::Http { client, origin } => {
                State::Http { client: client.clone(), origin: origin.clone() }
            }
            State::Function { function } => State::Function { function: function.clone() },
            State::Missing => State::Missing,
        };
        Self { state, idle_limit: self.idle_limit.clone() }
    }
}

impl<B> fmt::Debug for TargetService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target: &dyn fmt::Debug = match &self.state {
            State::Http { origin, .. } => origin,
            State::Function { .. } => &"function",
            State::Missing => &"missing",
        };
        f.debug_tuple("TargetService").field(target).finish()
    }
}
