use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Body;

use crate::BoxError;

/// Reads a body to its end, up to a limit in bytes.
///
/// A body in one piece is not copied. The pieces of any other are joined as they arrive: kept one
/// by one, a body of single bytes would take many times its size. Trailers are dropped.
#[derive(Debug, Default)]
pub(crate) struct BodyReader {
    first: Bytes,
    joined: BytesMut,
}

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It has more bytes than the limit.
    TooLarge,
    /// The body failed.
    Body(BoxError),
}

impl BodyReader {
    /// Returns the whole body. Must not be polled again after it has returned ready.
    pub(crate) fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Bytes, ReadError>>
    where
        B: Body<Error: Into<BoxError>>,
    {
        if body.size_hint().lower() > limit.saturating_sub(self.len()) as u64 {
            return Poll::Ready(Err(ReadError::TooLarge));
        }
        while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| ReadError::Body(error.into()))?;
            let Ok(mut data) = frame.into_data() else { continue };
            if data.remaining() > limit.saturating_sub(self.len()) {
                return Poll::Ready(Err(ReadError::TooLarge));
            }
            if self.len() == 0 {
                self.first = data.copy_to_bytes(data.remaining());
            } else {
                self.joined.put(mem::take(&mut self.first));
                self.joined.put(data);
            }
        }
        Poll::Ready(Ok(match self.joined.is_empty() {
            true => mem::take(&mut self.first),
            false => mem::take(&mut self.joined).freeze(),
        }))
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::poll_fn, pin::pin};

    use allocation_counter::measure;
    use futures::{FutureExt, stream};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn read(body: impl Body<Error: Into<BoxError>>, limit: usize) -> Result<Bytes, ReadError> {
        let (mut body, mut reader) = (pin!(body), BodyReader::default());
        poll_fn(|cx| reader.poll(body.as_mut(), limit, cx)).now_or_never().unwrap()
    }

    fn pieces(pieces: usize, size: usize) -> impl Body<Error = Infallible> {
        let piece = move |_| Ok(Frame::data(Bytes::from(vec![b'a'; size])));
        StreamBody::new(stream::iter((0..pieces).map(piece)))
    }

    #[test]
    fn the_limit_counts_all_pieces() {
        assert_eq!(read(pieces(4, 25), 100).unwrap().len(), 100);
        assert!(matches!(read(pieces(5, 25), 100), Err(ReadError::TooLarge)));
        assert!(matches!(read(Full::<Bytes>::from(vec![0; 101]), 100), Err(ReadError::TooLarge)));
        assert_eq!(read(pieces(0, 0), 0).unwrap().len(), 0);
    }

    #[test]
    fn one_piece_is_not_copied() {
        let piece = Bytes::from(vec![1; 1000]);
        assert_eq!(
            read(Full::<Bytes>::from(piece.clone()), 1000).unwrap().as_ptr(),
            piece.as_ptr()
        );
    }

    #[test]
    fn single_bytes_take_a_few_times_their_size() {
        const BYTES: usize = 100_000;
        let mut len = 0;
        let most = measure(|| len = read(pieces(BYTES, 1), BYTES).unwrap().len()).bytes_max;
        assert_eq!(len, BYTES);
        assert!(most < 4 * BYTES as u64, "{most}");
    }
}
