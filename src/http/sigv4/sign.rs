use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Request, header::TRANSFER_ENCODING, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    SignError, SignLayer,
    keys::Getting,
    signature::{Scope, sign_request},
};
use crate::{BoxError, future::polled_after_completion};

/// Signs requests before it passes them on; made by [`SignLayer`].
///
/// The inner service must send them as they are: the host in the URI or in the header is signed too.
/// Its errors are passed on, and a [`SignError`] for requests that are not sent.
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
        let inner = self.inner.clone();
        let service = mem::replace(&mut self.inner, inner);
        let signer = self.signer.clone();
        let credentials = signer.keys.get();
        let unsigned = Some(Unsigned { head, service, signer });
        let read = Read::default();
        SignFuture { state: State::Preparing { body, read, credentials, unsigned } }
    }
}

const NAME: &str = "SignFuture";

/// All of a request but its body, and where it goes.
struct Unsigned<S> {
    head: Parts,
    service: S,
    signer: SignLayer,
}

pin_project! {
    /// The response to a request that was signed by [`Sign`].
    pub struct SignFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Preparing {
            #[pin]
            body: B,
            read: Read,
            credentials: Getting,
            unsigned: Option<Unsigned<S>>,
        },
        Sent {
            #[pin]
            response: S::Future,
        },
    }
}

impl<S, B> Future for SignFuture<S, B>
where
    S: Service<Request<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + From<Bytes>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let (body, credentials, unsigned) = match state.as_mut().project() {
                StateProjection::Sent { response } => {
                    return response.poll(cx).map_err(Into::into);
                }
                StateProjection::Preparing { body, read, credentials, unsigned } => {
                    let signer = unsigned.as_ref().map(|unsigned| &unsigned.signer);
                    let limit = signer.unwrap_or_else(|| polled_after_completion(NAME)).max_body;
                    let credentials = match ready!(read.poll(body, limit, cx)) {
                        Ok(()) => ready!(credentials.poll(cx)),
                        Err(error) => Err(error),
                    };
                    // Taken also if it can't be signed, so that it is known to be over.
                    let unsigned = unsigned.take();
                    let unsigned = unsigned.unwrap_or_else(|| polled_after_completion(NAME));
                    (read.take(), credentials?, unsigned)
                }
            };
            let Unsigned { mut head, mut service, signer } = unsigned;
            // The length is known now.
            head.headers.remove(TRANSFER_ENCODING);
            let mut request = Request::from_parts(head, B::from(body.clone()));
            let (region, service_name) = (signer.region.as_deref(), &*signer.service);
            let scope = Scope { region, service: service_name, time: SystemTime::now() };
            sign_request(&mut request, &body, &credentials, &scope)?;
            let response = service.call(request);
            state.set(State::Sent { response });
        }
    }
}

impl<S, B> fmt::Debug for SignFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignFuture").finish_non_exhaustive()
    }
}

/// A body as far as it has been read. One that came in one piece is not copied.
#[derive(Default)]
struct Read {
    first: Bytes,
    all: BytesMut,
    ended: bool,
}

impl Read {
    fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SignError>>
    where
        B: Body<Error: Into<BoxError>>,
    {
        while !self.ended {
            let Some(frame) = ready!(body.as_mut().poll_frame(cx)) else {
                self.ended = true;
                break;
            };
            let frame = frame.map_err(|error| SignError::Body(error.into()))?;
            let Ok(mut data) = frame.into_data() else { continue };
            if data.remaining() > limit.saturating_sub(self.len()) {
                return Poll::Ready(Err(SignError::TooLarge { limit }));
            }
            match self.len() {
                0 => self.first = data.copy_to_bytes(data.remaining()),
                _ => {
                    self.all.put(mem::take(&mut self.first));
                    self.all.put(data);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn take(&mut self) -> Bytes {
        match self.all.is_empty() {
            true => mem::take(&mut self.first),
            false => mem::take(&mut self.all).freeze(),
        }
    }
}
