use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::replay_buffer::{Reader, to_bytes};
use crate::{BoxError, http::body::PollFrame, retry::RetrySafety};

pin_project! {
    /// A request body that can be sent more than once, with the same bytes and the same trailers.
    ///
    /// Made by [`Replay`](crate::http::Replay). The body streams: it passes frames on as they
    /// arrive and keeps them for further attempts, up to a cap. A body that exceeds the cap
    /// continues to stream, but can no longer be repeated. Frames are kept only while another copy
    /// of the body exists.
    ///
    /// Copies read the same source, each from the beginning, and may read concurrently. If a copy
    /// reads further than the first attempt and exceeds the cap, the copy fails and the first
    /// attempt continues.
    ///
    /// # Memory
    ///
    /// The cap limits the memory however the body is divided into frames. A byte of data counts 1;
    /// a trailer field counts its name, its value and 128 bytes. In addition, less than 8 KiB are
    /// allocated in advance, and 1 % for bookkeeping.
    ///
    /// Frames shorter than 8 KiB are copied into one buffer, unless the body consists of a single
    /// frame. Further attempts therefore send the same bytes in fewer frames. Longer frames are
    /// shared with the source. If such a frame is a slice of a larger buffer, the whole buffer
    /// stays allocated. If a copy exceeds the cap ahead of the first attempt, the frame beyond the
    /// cap is kept until the first attempt has read it.
    pub struct ReplayBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        // Never sent more than once: passes through.
        Once { #[pin] body: B },
        Empty { retry_safety: RetrySafety },
        // `None` after the frame.
        Whole { data: Option<Bytes> },
        Buffered { reader: Reader<B> },
    }
}

impl<B: Body> ReplayBody<B> {
    /// Wraps the body of a request with this `retry_safety` and keeps up to `cap` bytes of it.
    pub(super) fn new(body: B, retry_safety: RetrySafety, cap: usize) -> Self {
        let kind = if retry_safety == RetrySafety::Never {
            Kind::Once { body }
        } else if body.is_end_stream() {
            Kind::Empty { retry_safety }
        } else if body.size_hint().lower() > cap as u64 {
            // The body cannot be repeated once a frame of it has been read, so nothing is kept.
            // Until then, an attempt that did not send anything can still be repeated.
            Kind::Buffered { reader: Reader::new(body, RetrySafety::IfUnsent, 0) }
        } else {
            Kind::Buffered { reader: Reader::new(body, retry_safety, cap) }
        };
        Self { kind }
    }
}

impl<B> Default for ReplayBody<B> {
    /// Returns an empty body, which health checks use.
    fn default() -> Self {
        Self { kind: Kind::Empty { retry_safety: RetrySafety::Idempotent } }
    }
}

impl<B> From<Bytes> for ReplayBody<B> {
    /// Returns a body in one piece, which health checks send.
    fn from(data: Bytes) -> Self {
        if data.is_empty() {
            return Self::default();
        }
        Self { kind: Kind::Whole { data: Some(data) } }
    }
}

impl<B> ReplayBody<B> {
    pub(super) fn retry_safety(&self) -> RetrySafety {
        match &self.kind {
            Kind::Once { .. } => RetrySafety::Never,
            Kind::Empty { retry_safety } => *retry_safety,
            Kind::Whole { .. } => RetrySafety::Idempotent,
            Kind::Buffered { reader } => reader.retry_safety,
        }
    }

    /// Returns the same body from the beginning, or `None` if the beginning is not kept.
    pub(super) fn try_clone(&self) -> Option<Self> {
        let kind = match &self.kind {
            Kind::Once { .. } => return None,
            Kind::Empty { retry_safety } => Kind::Empty { retry_safety: *retry_safety },
            Kind::Whole { data } => Kind::Whole { data: Some(data.clone()?) },
            Kind::Buffered { reader } => Kind::Buffered { reader: reader.copy_at_start()? },
        };
        Some(Self { kind })
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame<Bytes> {
        match self.project().kind.project() {
            KindProjection::Once { body } => body.poll_frame(cx).map(|frame| {
                frame.map(|frame| frame.map(|frame| frame.map_data(to_bytes)).map_err(Into::into))
            }),
            KindProjection::Empty { .. } => Poll::Ready(None),
            KindProjection::Whole { data } => Poll::Ready(data.take().map(Frame::data).map(Ok)),
            KindProjection::Buffered { reader } => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Once { body } => body.is_end_stream(),
            Kind::Empty { .. } => true,
            Kind::Whole { data } => data.is_none(),
            Kind::Buffered { reader } => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Once { body } => body.size_hint(),
            Kind::Empty { .. } => SizeHint::with_exact(0),
            Kind::Whole { data } => {
                SizeHint::with_exact(data.as_ref().map_or(0, |data| data.len() as u64))
            }
            Kind::Buffered { reader } => reader.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody")
            .field("retry_safety", &self.retry_safety())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use futures::{
        channel::mpsc::{self, UnboundedReceiver},
        executor::block_on,
        future::join,
    };
    use http::{HeaderMap, HeaderValue};
    use http_body::Frame;
    use http_body_util::{BodyExt, Full, StreamBody};
    use proptest::prelude::*;

    use super::{super::replay_buffer::TRAILER_COST, *};

    type Frames = Vec<Result<Frame<Bytes>, BoxError>>;

    fn streamed(
        frames: &[Bytes],
        trailers: bool,
    ) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> + use<>> {
        let mut frames: Frames = frames.iter().cloned().map(Frame::data).map(Ok).collect();
        frames.extend(trailers.then(|| Ok(Frame::trailers(sum()))));
        StreamBody::new(futures::stream::iter(frames))
    }

    fn sum() -> HeaderMap {
        [(http::header::ETAG, HeaderValue::from_static("sum"))].into_iter().collect()
    }

    fn read<B: Body<Data = Bytes, Error = BoxError>>(body: B) -> (Bytes, Option<HeaderMap>) {
        let collected = block_on(body.collect()).unwrap();
        let trailers = collected.trailers().cloned();
        (collected.to_bytes(), trailers)
    }

    fn frames() -> impl Strategy<Value = Vec<Bytes>> {
        let frame = prop::collection::vec(any::<u8>(), 0..30).prop_map(Bytes::from);
        prop::collection::vec(frame, 1..10)
    }

    proptest! {
        /// An attempt stops after any number of frames. The attempts after it read the whole body.
        #[test]
        fn replays_are_exact_wherever_the_attempt_before_ended(
            frames in frames(), trailers: bool, stops_after in prop::collection::vec(0..12_usize, 0..4),
        ) {
            let kept = ReplayBody::new(streamed(&frames, trailers), RetrySafety::Idempotent, 1000);
            for after in stops_after {
                let mut attempt = kept.try_clone().unwrap();
                for _ in 0..after {
                    block_on(attempt.frame());
                }
            }
            for _ in 0..2 {
                let (bytes, read_trailers) = read(kept.try_clone().unwrap());
                prop_assert_eq!(&bytes[..], frames.concat());
                prop_assert_eq!(read_trailers, trailers.then(sum));
            }
        }

        /// A body over the cap passes through one attempt and cannot be repeated.
        #[test]
        fn over_the_cap_it_goes_through_once(frames in frames(), cap in 0..400_usize) {
            let body = ReplayBody::new(streamed(&frames, true), RetrySafety::Idempotent, cap);
            let kept = body.try_clone().unwrap();
            let (bytes, trailers) = read(body);
            prop_assert_eq!(&bytes[..], frames.concat());
            prop_assert_eq!(trailers, Some(sum()));
            let cost = bytes.len() + "etag".len() + "sum".len() + TRAILER_COST;
            prop_assert_eq!(kept.try_clone().is_some(), cost <= cap);
        }
    }

    #[test]
    fn nothing_is_kept_without_another_copy() {
        let body =
            ReplayBody::new(streamed(&["a".into(), "b".into()], false), RetrySafety::Idempotent, 9);
        let Kind::Buffered { mut reader } = body.kind else { panic!("not empty") };
        block_on(std::future::poll_fn(|cx| reader.poll_frame(cx)));
        assert!(reader.is_nothing_kept() && reader.copy_at_start().is_none());
    }

    #[test]
    fn every_attempt_has_a_size_hint() {
        let body = ReplayBody::new(Full::<Bytes>::from("hello"), RetrySafety::Idempotent, 9);
        let mut first = body.try_clone().unwrap();
        assert_eq!(first.size_hint().exact(), Some(5));
        block_on(first.frame());
        assert!(first.is_end_stream());
        assert_eq!(first.size_hint().exact(), Some(0));
        let second = body.try_clone().unwrap();
        assert!(!second.is_end_stream());
        assert_eq!(second.size_hint().exact(), Some(5));
        let empty = ReplayBody::new(Full::<Bytes>::default(), RetrySafety::Idempotent, 9);
        assert!(empty.try_clone().unwrap().is_end_stream());
    }

    #[test]
    fn a_body_with_trailers_has_no_exact_size() {
        let body = ReplayBody::new(streamed(&["a".into()], true), RetrySafety::Idempotent, 999);
        read(body.try_clone().unwrap());
        assert_eq!(body.try_clone().unwrap().size_hint().exact(), None);
    }

    #[test]
    fn a_body_too_long_from_the_start_can_be_sent_again_only_if_unsent() {
        let long = ReplayBody::new(Full::<Bytes>::from("hello"), RetrySafety::Idempotent, 4);
        assert_eq!(long.retry_safety(), RetrySafety::IfUnsent);
        drop(long.try_clone().unwrap());
        let mut attempt = long.try_clone().unwrap();
        block_on(attempt.frame());
        assert!(long.try_clone().is_none(), "some of it may have been sent");
    }

    /// Frames of any length, many of them near the length from which on they are not copied.
    fn frames_of_any_length() -> impl Strategy<Value = Vec<Bytes>> {
        let lengths = prop_oneof![Just(1), 2..100_usize, 4000..20_000_usize, 8190..8195_usize];
        let frame = (any::<u8>(), lengths).prop_map(|(byte, len)| Bytes::from(vec![byte; len]));
        prop::collection::vec(frame, 1..20)
    }

    proptest! {
        /// Several readers at different speeds all read the whole body.
        #[test]
        fn readers_that_overtake_each_other_read_the_same(
            frames in frames_of_any_length(), turns in prop::collection::vec(0..4_usize, 0..100),
        ) {
            let body = ReplayBody::new(streamed(&frames, true), RetrySafety::Idempotent, 1 << 20);
            let mut readers: Vec<_> = (0..3).map(|_| body.try_clone().unwrap()).collect();
            readers.push(body);
            let mut seen = vec![Vec::new(); readers.len()];
            let every_reader = (0..4).cycle().take(4 * 30);
            for turn in turns.into_iter().chain(every_reader) {
                let (reader, seen) = (&mut readers[turn], &mut seen[turn]);
                let left = frames.concat().len() - seen.len();
                if !reader.is_end_stream() {
                    let hint = reader.size_hint();
                    prop_assert!(hint.lower() <= left as u64);
                    let frame = block_on(reader.frame()).map(Result::unwrap);
                    if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
                        seen.extend_from_slice(data);
                    }
                }
            }
            for (seen, reader) in seen.iter().zip(&readers) {
                prop_assert_eq!(seen, &frames.concat());
                prop_assert!(reader.is_end_stream());
            }
        }
    }

    /// A source that creates its frames on demand, so that only the replay buffer holds any.
    fn made(
        count: usize,
        frame: impl Fn() -> Bytes,
    ) -> StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>>> {
        StreamBody::new(futures::stream::iter((0..count).map(move |_| Ok(Frame::data(frame())))))
    }

    fn drain<B: Body<Error: Into<BoxError>>>(body: ReplayBody<B>) -> usize {
        let (mut body, mut bytes) = (Box::pin(body), 0);
        while let Some(frame) = block_on(body.frame()) {
            bytes += frame.unwrap().data_ref().map_or(0, Bytes::len);
        }
        bytes
    }

    #[test]
    fn the_memory_held_is_the_cap_however_the_body_is_cut() {
        const CAP: usize = 1 << 20;
        let rest = CAP / 100 + (8 << 10) + 1024;
        for (count, len, is_kept) in [
            (1_000_000, 1, true),
            (2_000_000, 1, false),
            (100_000, 10, true),
            (CAP / 8191, 8191, true),
            (CAP / 8192, 8192, true),
            (2000, 8193, false),
        ] {
            let mut held = None;
            let cost = measure(|| {
                // A slice of a static buffer: copying it is the only allocation.
                let frame = move || match len {
                    8192.. => Bytes::from(vec![0; len]),
                    _ => Bytes::from_static(&[0; 8191]).slice(..len),
                };
                let body = ReplayBody::new(made(count, frame), RetrySafety::Idempotent, CAP);
                let kept = body.try_clone().unwrap();
                assert_eq!(drain(body), count * len);
                held = Some(kept);
            });
            let kept = held.unwrap();
            assert_eq!(kept.try_clone().is_some(), is_kept, "{count} frames of {len} bytes");
            // A buffer is allocated twice while it grows.
            let bound = (CAP + rest + (16 << 10)) as u64;
            assert!(cost.bytes_max < bound, "{count} frames of {len}: {cost:?}");
            let current = usize::try_from(cost.bytes_current).unwrap();
            assert!(current < if is_kept { CAP + rest } else { 1024 }, "{cost:?}");
            if is_kept {
                assert_eq!(drain(kept), count * len);
            }
        }
    }

    #[test]
    fn a_body_in_one_frame_is_not_copied() {
        let data = Bytes::from(vec![1; 100]);
        let body = ReplayBody::new(Full::new(data.clone()), RetrySafety::Idempotent, 1000);
        let kept = body.try_clone().unwrap();
        for mut attempt in [body, kept] {
            let frame = block_on(attempt.frame()).unwrap().unwrap();
            assert_eq!(frame.data_ref().unwrap().as_ptr(), data.as_ptr());
        }
    }

    #[test]
    fn trailers_count() {
        for (fields, is_kept) in [(10, true), (1000, false)] {
            let names = (0..fields).map(|n| format!("x-{n}").parse().unwrap());
            let trailers: HeaderMap =
                names.map(|name: http::HeaderName| (name, HeaderValue::from_static(""))).collect();
            let frames: Frames = vec![Ok(Frame::data("a".into())), Ok(Frame::trailers(trailers))];
            let source = StreamBody::new(futures::stream::iter(frames));
            let body = ReplayBody::new(source, RetrySafety::Idempotent, 64 << 10);
            let kept = body.try_clone().unwrap();
            assert_eq!(read(body).1.unwrap().len(), fields);
            assert_eq!(kept.try_clone().is_some(), is_kept);
        }
    }

    /// A mirror, or a hedge, may read faster than the attempt that it is a copy of.
    #[test]
    fn a_copy_that_gets_ahead_beyond_the_cap_fails_and_not_the_first_attempt() {
        let frames = ["ab", "cd", "ef", "gh"].map(Bytes::from);
        for read_before in 0..3 {
            let mut first = ReplayBody::new(streamed(&frames, true), RetrySafety::Idempotent, 4);
            let copy = first.try_clone().unwrap();
            let mut begun = Vec::new();
            for _ in 0..read_before {
                let frame = block_on(first.frame()).unwrap().unwrap();
                begun.extend_from_slice(frame.data_ref().unwrap());
            }
            assert!(block_on(copy.collect()).is_err(), "the copy is too far ahead");
            assert!(first.try_clone().is_none());
            let (rest, trailers) = read(first);
            begun.extend_from_slice(&rest);
            assert_eq!((&*begun, trailers), (&b"abcdefgh"[..], Some(sum())));
        }
    }

    /// A retry reads the source itself when the first attempt is over.
    #[test]
    fn a_copy_goes_beyond_the_cap_when_the_first_attempt_is_gone() {
        let frames = ["ab", "cd", "ef"].map(Bytes::from);
        let mut first = ReplayBody::new(streamed(&frames, false), RetrySafety::Idempotent, 4);
        let copy = first.try_clone().unwrap();
        block_on(first.frame()).unwrap().unwrap();
        drop(first);
        assert_eq!(read(copy).0, "abcdef");
    }

    #[test]
    fn attempts_at_the_same_time_read_the_same_source() {
        let (sender, receiver): (_, UnboundedReceiver<_>) = mpsc::unbounded();
        let body = ReplayBody::new(StreamBody::new(receiver), RetrySafety::Idempotent, 100);
        let (one, other) = (body.try_clone().unwrap(), body.try_clone().unwrap());
        let feeder = std::thread::spawn(move || {
            for n in 0..50_u8 {
                let frame: Result<_, BoxError> = Ok(Frame::data(Bytes::from(vec![n])));
                sender.unbounded_send(frame).unwrap();
                std::thread::yield_now();
            }
        });
        let (one, other) = block_on(join(one.collect(), other.collect()));
        feeder.join().unwrap();
        let expected: Vec<_> = (0..50).collect();
        assert_eq!(one.unwrap().to_bytes(), expected);
        assert_eq!(other.unwrap().to_bytes(), expected);
    }

    #[test]
    fn a_body_in_one_piece_is_repeated_until_it_is_read() {
        let body = ReplayBody::<Full<Bytes>>::from(Bytes::from("ping"));
        assert_eq!(body.size_hint().exact(), Some(4));
        let copy = body.try_clone().unwrap();
        assert_eq!(read(body).0, "ping");
        assert_eq!(read(copy).0, "ping");
        assert!(ReplayBody::<Full<Bytes>>::from(Bytes::new()).is_end_stream());
    }

    #[test]
    fn a_source_that_fails_is_not_repeated() {
        let frames: Frames = vec![Ok(Frame::data("a".into())), Err("reset".into())];
        let source = StreamBody::new(futures::stream::iter(frames));
        let body = ReplayBody::new(source, RetrySafety::Idempotent, 100);
        let error = block_on(body.try_clone().unwrap().collect()).unwrap_err();
        assert_eq!(error.to_string(), "reset");
        assert!(body.try_clone().is_none());
    }
}
