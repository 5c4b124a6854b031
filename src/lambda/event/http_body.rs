use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::{failure, json_response::parse_prelude};
use crate::lambda::{InvalidResponse, InvokeError, InvokedBody};

/// The response body of [`HttpFunction`](crate::lambda::HttpFunction): the function's body, whole
/// or streamed, or a line that describes the error.
#[derive(Debug, Default)]
pub struct HttpBody {
    first: Bytes,
    rest: Option<InvokedBody>,
}

impl From<Bytes> for HttpBody {
    fn from(whole: Bytes) -> Self {
        Self { first: whole, rest: None }
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = InvokeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvokeError>>> {
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.first.len() as u64),
        }
    }
}

/// The beginning of a streamed HTTP response: status and headers as JSON, then eight zero bytes,
/// then the body.
pub(super) struct Prelude {
    body: Option<InvokedBody>,
    read: Vec<u8>,
}

/// Separates the prelude from the body.
const SEPARATOR: [u8; 8] = [0; 8];
/// The longest prelude, in bytes.
const MAX_PRELUDE_BYTES: usize = 64 * 1024;

impl Prelude {
    pub(super) fn of(body: InvokedBody) -> Self {
        Self { body: Some(body), read: Vec::new() }
    }

    /// Returns the response when the prelude is complete, or the response to an error.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<HttpBody>> {
        while let Some(body) = &mut self.body {
            let piece = match ready!(Pin::new(body).poll_frame(cx)) {
                None => break,
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(failure::of_service(&error)),
            };
            let Some((head, first)) = self.split(piece) else {
                if self.read.len() > MAX_PRELUDE_BYTES {
                    break;
                }
                continue;
            };
            return Poll::Ready(match parse_prelude(&head) {
                Ok(response) => response.map(|()| HttpBody { first, rest: self.body.take() }),
                Err(error) => failure::bad_response(error),
            });
        }
        Poll::Ready(failure::bad_response(InvalidResponse::NoPrelude))
    }

    /// Adds a piece. Returns the prelude and the beginning of the body once the separator has
    /// arrived.
    fn split(&mut self, piece: Bytes) -> Option<(Bytes, Bytes)> {
        let before = self.read.len();
        self.read.extend_from_slice(&piece);
        // The separator may have begun in an earlier piece.
        let from = before.saturating_sub(SEPARATOR.len() - 1);
        let mut windows = self.read[from..].windows(SEPARATOR.len());
        let head = from + windows.position(|window| window == SEPARATOR)?;
        let first = piece.slice(head + SEPARATOR.len() - before..);
        self.read.truncate(head);
        Some((std::mem::take(&mut self.read).into(), first))
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use crate::lambda::InvokedStream;

    use super::*;

    fn read(pieces: Vec<Bytes>) -> (Response<()>, Bytes) {
        let streamed = InvokedStream::new(stream::iter(pieces.into_iter().map(Ok)));
        let mut prelude = Prelude::of(streamed.into_body());
        tokio_test::block_on(async {
            let read = std::future::poll_fn(|cx| prelude.poll(cx)).await;
            let (head, body) = read.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (Response::from_parts(head, ()), body)
        })
    }

    proptest! {
        #[test]
        fn the_prelude_is_found_in_any_pieces(
            body: Vec<u8>,
            cuts in prop::collection::vec(0_usize..40, 0..8),
        ) {
            let head = br#"{"statusCode":201,"headers":{"a":"b"},"cookies":["c=d"]}"#;
            let mut rest = Bytes::from([&head[..], &SEPARATOR, &body].concat());
            let mut pieces: Vec<_> =
                cuts.iter().map(|&cut| rest.split_to(cut.min(rest.len()))).collect();
            pieces.push(rest);
            let (response, read) = read(pieces);
            prop_assert_eq!(response.status(), 201);
            prop_assert_eq!(&response.headers()["set-cookie"], "c=d");
            prop_assert_eq!(read, body);
        }
    }

    #[test]
    fn without_a_prelude_there_is_no_response() {
        for pieces in [
            vec![],
            vec![Bytes::from("{}")],
            vec![Bytes::from("\0\0\0\0\0\0\0\0body")],
            vec![Bytes::from("\"Hello\"\0\0\0\0\0\0\0\0body")],
            vec![Bytes::from("{\"statusCode\":7}\0\0\0\0\0\0\0\0")],
            vec![Bytes::from(vec![b' '; MAX_PRELUDE_BYTES]); 2],
        ] {
            assert_eq!(read(pieces).0.status(), 502);
        }
    }
}
