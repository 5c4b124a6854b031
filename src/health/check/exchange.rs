use std::{future::poll_fn, pin::pin};

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, Request, Response, response::Parts};
use http_body::Body;
use tower_service::Service;

use crate::BoxError;

/// The response to one request that was sent through the endpoint's own service.
pub(super) struct Exchange {
    pub(super) head: Parts,
    pub(super) body: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
}

/// The part of a body that is read, in bytes. The rest is ignored.
const MAX_BODY_BYTES: usize = 64 * 1024;

impl Exchange {
    pub(super) async fn send<S, B, R>(mut service: S, request: Request<B>) -> Result<Self, BoxError>
    where
        S: Service<Request<B>, Response = Response<R>, Error: Into<BoxError>>,
        R: Body<Error: Into<BoxError>>,
    {
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
        let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
        let mut exchange = Self { head, body: BytesMut::new(), trailers: None };
        let mut body = pin!(body);
        while exchange.body.len() < MAX_BODY_BYTES {
            let frame = poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
            let Some(frame) = frame.transpose().map_err(Into::into)? else { break };
            match frame.into_data() {
                Ok(data) => exchange.body.put(data.take(MAX_BODY_BYTES)),
                Err(frame) => exchange.trailers = frame.into_trailers().ok(),
            }
        }
        Ok(exchange)
    }
}
