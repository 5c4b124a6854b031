use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use http::{Request, header::TRANSFER_ENCODING, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    SignError, SignLayer,
    credentials_cache::CredentialsFuture,
    signature::{Scope, sign_request},
};
use crate::{
    BoxError,
    body_reader::{BodyReader, ReadError},
    future::polled_after_completion,
};

/// Signs requests and passes them to the inner service; made by [`SignLayer`].
///
/// The inner service must not change the host in the URI or in the header, because it is signed.
/// The errors of the inner service are passed on. A request that cannot be signed fails with a
/// [`SignError`].
#[derive(Clone, Debug)]
pub struct Sign<S> {
    pub(super) inner: S,
    pub(super) signer: SignLayer,
}

impl<S, B> Service<Request<B>> for Sign<S>
where
    S: Service<Request<B>, Error: Into<BoxError>> + Clone,
    B: Body<Error: Into<BoxError>> + From<Bytes>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = SignFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> SignFuture<S, B> {
        let (head, body) = request.into_parts();
        // The instance that is ready must get the request, so the clone stays here.
        let inner = self.inner.clone();
        let service = mem::replace(&mut self.inner, inner);
        let signer = self.signer.clone();
        SignFuture {
            state: State::Reading { body, reader: BodyReader::default() },
            unsigned: Some(Unsigned { head, service, signer }),
        }
    }
}

/// A request without its body, and the service that it is sent to.
struct Unsigned<S> {
    head: Parts,
    service: S,
    signer: SignLayer,
}

pin_project! {
    /// The response future of [`Sign`].
    pub struct SignFuture<S, B>
    where
        S: Service<Request<B>>,
        B: Body<Error: Into<BoxError>>,
    {
        #[pin]
        state: State<S::Future, B>,
        // `None` once the request has been sent or has failed.
        unsigned: Option<Unsigned<S>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B>
    where
        B: Body<Error: Into<BoxError>>,
    {
        Reading { #[pin] body: B, reader: BodyReader },
        GettingCredentials { body: Bytes, credentials: CredentialsFuture },
        Sent { #[pin] response: F },
    }
}

impl<S: Service<Request<B>, Error: Into<BoxError>>, B: Body<Error: Into<BoxError>> + From<Bytes>>
    Future for SignFuture<S, B>
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Reading { body, reader } => {
                    let Some(Unsigned { signer, .. }) = this.unsigned.as_ref() else {
                        polled_after_completion("SignFuture")
                    };
                    let limit = signer.max_body;
                    let body = match ready!(reader.poll(body, limit, cx)) {
                        Ok(body) => body,
                        Err(error) => {
                            *this.unsigned = None;
                            let error = match error {
                                ReadError::TooLarge => SignError::TooLarge { limit },
                                ReadError::Body(error) => SignError::Body(error),
                            };
                            return Poll::Ready(Err(error.into()));
                        }
                    };
                    // Only now, so that credentials do not expire while a slow body is read.
                    let credentials = signer.credentials.get();
                    this.state.set(State::GettingCredentials { body, credentials });
                }
                StateProjection::GettingCredentials { body, credentials } => {
                    if this.unsigned.is_none() {
                        polled_after_completion("SignFuture")
                    }
                    let credentials = ready!(credentials.poll(cx));
                    // Taken even if signing fails, so that the future is known to be complete.
                    let Some(unsigned) = this.unsigned.take() else {
                        polled_after_completion("SignFuture")
                    };
                    let Unsigned { mut head, mut service, signer } = unsigned;
                    // The length of the body is known now.
                    head.headers.remove(TRANSFER_ENCODING);
                    let mut request = Request::from_parts(head, B::from(body.clone()));
                    let scope = Scope {
                        region: signer.region.as_deref(),
                        service: &signer.service,
                        time: SystemTime::now(),
                    };
                    sign_request(&mut request, body, &credentials?, &scope)?;
                    let response = service.call(request);
                    this.state.set(State::Sent { response });
                }
                StateProjection::Sent { response } => return response.poll(cx).map_err(Into::into),
            }
        }
    }
}

impl<S: Service<Request<B>>, B: Body<Error: Into<BoxError>>> fmt::Debug for SignFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignFuture").finish_non_exhaustive()
    }
}
