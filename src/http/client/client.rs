use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, uri::Scheme};
use http_body::Body;
use hyper::{body::Incoming, client::conn::TrySendError};
use tower_service::Service;

use super::{
    body::{ClientBody, SentBody},
    endpoint::{Checkout, Endpoint, Leased, RequestBody, Waiting},
    http1, http2,
    message::{self, Target},
    pool::Pool,
    sent_error::{of_sent, of_unsent},
};
use crate::{
    BoxError,
    error::{ClientError, ClientErrorKind},
    future::polled_after_completion,
    http::Origin,
};

/// A pool of connections to one endpoint; made by [`Pool`].
///
/// It sends a request in the form of its connection's version, whatever the version of the request:
/// target, host and the header fields that concern a connection. Clones share connections.
///
/// It is always ready; see [`Pool`] for where requests wait.
pub struct Client<B> {
    endpoint: Arc<Endpoint<B>>,
}

/// How often a request that comes back from a kept connection is repeated.
const MAX_RESENDS: u8 = 3;

impl<B> Client<B> {
    pub(super) fn new(pool: Pool, target: Target) -> Self {
        Self { endpoint: Arc::new(Endpoint::new(pool, target)) }
    }

    /// Returns the origin that requests are sent to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.endpoint.target.origin
    }

    /// Returns whether there is any connection.
    pub(super) fn is_connected(&self) -> bool {
        self.endpoint.is_connected()
    }
}

impl<B> Service<Request<B>> for Client<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<ClientBody>;
    type Error = ClientError;
    type Future = ClientFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ClientFuture<B> {
        let mut request = request.map(SentBody::new);
        let endpoint = Arc::clone(&self.endpoint);
        let state = match message::address(&mut request, &endpoint.target) {
            Ok(()) => State::start(&endpoint, request),
            Err(error) => State::Failed(error),
        };
        ClientFuture { endpoint, state, resends: 0 }
    }
}

impl<B> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self { endpoint: Arc::clone(&self.endpoint) }
    }
}

impl<B> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("origin", self.origin()).finish_non_exhaustive()
    }
}

/// The response future of a [`Client`].
///
/// # Panics
///
/// Panics if it is polled after it has completed.
pub struct ClientFuture<B> {
    endpoint: Arc<Endpoint<B>>,
    state: State<B>,
    resends: u8,
}

enum State<B> {
    Waiting { request: Request<SentBody<B>>, waiting: Waiting<B> },
    Http1(http1::Connection<B>),
    Http2 { exchange: http2::Exchange<B>, guard: Arc<http2::StreamGuard>, is_reused: bool },
    Upgrade(Pin<Box<dyn Future<Output = Result<Response<ClientBody>, ClientError>> + Send>>),
    Failed(ClientError),
    Done,
}

// Nothing in it is pinned in place: the exchanges are in boxes.
impl<B> Unpin for ClientFuture<B> {}

impl<B: RequestBody> State<B> {
    fn start(endpoint: &Arc<Endpoint<B>>, request: Request<SentBody<B>>) -> Self {
        let checkout = match message::is_upgrade(request.headers()) {
            true if endpoint.needs_http1_to_upgrade() => endpoint.checkout_http1(),
            _ => endpoint.checkout(),
        };
        match checkout {
            Checkout::Leased(leased) => Self::send(endpoint, leased, request),
            Checkout::Waiting(waiting) => Self::Waiting { request, waiting },
            Checkout::Busy => {
                let reason =
                    format!("{} requests wait for a connection", endpoint.pool.max_waiting);
                Self::Failed(ClientError::new(ClientErrorKind::Busy, reason))
            }
        }
    }

    fn send(
        endpoint: &Arc<Endpoint<B>>,
        leased: Leased<B>,
        mut request: Request<SentBody<B>>,
    ) -> Self {
        match leased {
            Leased::Http1(mut connection) => match message::to_http1(&mut request) {
                Ok(()) => {
                    connection.send(request);
                    Self::Http1(connection)
                }
                Err(error) => {
                    endpoint.release(connection);
                    Self::Failed(error)
                }
            },
            Leased::Http2(stream) if message::is_upgrade(request.headers()) => {
                let scheme = endpoint.target.origin.scheme().clone();
                Self::Upgrade(Box::pin(upgrade(stream, request, scheme)))
            }
            Leased::Http2(stream) => {
                match message::to_http2(&mut request, endpoint.target.origin.scheme()) {
                    Ok(()) => {
                        let is_reused = stream.is_reused;
                        let (exchange, guard) = stream.send(request);
                        Self::Http2 { exchange, guard, is_reused }
                    }
                    Err(error) => Self::Failed(error),
                }
            }
        }
    }
}

impl<B> Future for ClientFuture<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Output = Result<Response<ClientBody>, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            // What is pending is left in place.
            let event = match &mut this.state {
                State::Waiting { waiting, .. } => {
                    Event::Delivered(match ready!(Pin::new(waiting).poll(cx)) {
                        Ok(delivered) => delivered,
                        Err(_dropped) => {
                            Err(ClientError::new(ClientErrorKind::Connect, "the runtime has ended"))
                        }
                    })
                }
                State::Http1(connection) => Event::Exchanged(ready!(connection.exchange.poll(cx))),
                State::Http2 { exchange, .. } => {
                    Event::Exchanged(ready!(exchange.as_mut().poll(cx)))
                }
                State::Upgrade(upgrade) => {
                    let result = ready!(upgrade.as_mut().poll(cx));
                    this.state = State::Done;
                    return Poll::Ready(result);
                }
                State::Failed(_) | State::Done => Event::None,
            };
            let (error, is_reused) = match (std::mem::replace(&mut this.state, State::Done), event)
            {
                (State::Waiting { request, .. }, Event::Delivered(delivered)) => {
                    this.state = match delivered.map(|delivery| delivery.take()) {
                        Ok(Some(leased)) => State::send(&this.endpoint, leased, request),
                        Ok(None) => State::start(&this.endpoint, request),
                        Err(error) => State::Failed(error),
                    };
                    continue;
                }
                (State::Http1(_) | State::Http2 { .. }, Event::Exchanged(Ok(response)))
                    if this.endpoint.pool.is_head_too_large(response.headers()) =>
                {
                    // The connection is dropped, and closes.
                    let reason = "the head of the response is too large";
                    return Poll::Ready(Err(ClientError::new(ClientErrorKind::Connection, reason)));
                }
                (State::Http1(connection), Event::Exchanged(Ok(response))) => {
                    // The connection has become a tunnel otherwise.
                    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                        connection.finish(&this.endpoint);
                    }
                    let response = response.map(|body| ClientBody::new(body, None));
                    return Poll::Ready(Ok(response));
                }
                (State::Http2 { guard, .. }, Event::Exchanged(Ok(response))) => {
                    let response = response.map(|body| ClientBody::new(body, Some(guard)));
                    return Poll::Ready(Ok(response));
                }
                (State::Http1(connection), Event::Exchanged(Err(error))) => {
                    (error, connection.is_reused)
                }
                (State::Http2 { is_reused, .. }, Event::Exchanged(Err(error))) => {
                    (error, is_reused)
                }
                (State::Failed(error), _) => return Poll::Ready(Err(error)),
                _ => polled_after_completion("ClientFuture"),
            };
            match unsent(error, is_reused && this.resends < MAX_RESENDS) {
                Ok(request) => {
                    this.resends += 1;
                    this.state = State::start(&this.endpoint, request);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Opens a WebSocket on an HTTP/2 connection.
async fn upgrade<B: RequestBody>(
    stream: http2::Stream<B>,
    mut request: Request<SentBody<B>>,
    scheme: Scheme,
) -> Result<Response<ClientBody>, ClientError> {
    if !stream.has_extended_connect().await {
        let reason = "the endpoint accepts no upgrade of HTTP/2 connections (RFC 8441)";
        return Err(ClientError::new(ClientErrorKind::Unsupported, reason));
    }
    let accept = message::to_extended_connect(&mut request, &scheme)?;
    let (exchange, guard) = stream.send(request);
    match exchange.await {
        Ok(mut response) => {
            message::from_extended_connect(&mut response, accept);
            Ok(response.map(|body| ClientBody::new(body, Some(guard))))
        }
        // The request has lost its first form, so it is not repeated.
        Err(mut error) => Err(match error.take_message() {
            Some(_) => of_unsent(error.into_error()),
            None => of_sent(error.into_error()),
        }),
    }
}

/// What a pending state has become.
enum Event<B> {
    Delivered(Result<super::endpoint::Delivery<B>, ClientError>),
    Exchanged(Result<Response<Incoming>, TrySendError<Request<SentBody<B>>>>),
    None,
}

/// Returns a request that may be repeated: one that came back from a connection that was kept.
/// Others get their error.
fn unsent<B: RequestBody>(
    mut error: TrySendError<Request<SentBody<B>>>,
    may_resend: bool,
) -> Result<Request<SentBody<B>>, ClientError> {
    match error.take_message() {
        Some(mut request) if may_resend => {
            request.body_mut().hold(None);
            Ok(request)
        }
        Some(_) => Err(of_unsent(error.into_error())),
        None => Err(of_sent(error.into_error())),
    }
}

impl<B> fmt::Debug for ClientFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
