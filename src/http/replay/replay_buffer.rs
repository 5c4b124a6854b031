use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::{
    BoxError,
    http::body::PollFrame,
    retry::RetrySafety,
    sync::{Mutex, lock},
};

/// Converts data to `Bytes`. Data that is `Bytes` already is not copied.
pub(super) fn to_bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// Frames shorter than this are copied into one buffer, so that a frame of one byte costs one byte
/// instead of a handle and the buffer that the frame is a slice of.
const SMALL_FRAME_BYTES: usize = 8 << 10;
/// What a trailer field counts in addition to its name and its value. This is more than the size of
/// an entry in a `HeaderMap`.
pub(super) const TRAILER_COST: usize = 128;

/// The frames of a body that have been read, and the source of the rest. All readers share it.
///
/// One lock guards everything. A reader polls the source while it holds the lock, so that each
/// frame is recorded before another reader can ask for the next one. A panic of the source leaves
/// the buffer as it was before the frame, so a poisoned lock is used further.
struct ReplayBuffer<B> {
    /// `None` at the end of the body.
    source: Option<Pin<Box<B>>>,
    kept: KeptData,
    trailers: Option<HeaderMap>,
    /// The bytes that have been read, plus the cost of the trailers.
    size: usize,
    cap: usize,
    /// The beginning of the body is not kept, or the source has failed: no new reader can start.
    lost: bool,
    /// The first attempt exists and has not failed, so it must get every frame of the source.
    first_needs_source: bool,
    /// The readers that wait for the source, by number. The source itself wakes only the reader
    /// that polled it last. The number identifies a reader that moves between tasks, so that it has
    /// one entry.
    waiting: Vec<(u64, Waker)>,
    /// The number of the next reader.
    next_number: u64,
}

/// The data that is kept for other readers.
///
/// It takes one byte for each byte of data. In addition it takes the unused capacity of `tail`,
/// which is less than [`SMALL_FRAME_BYTES`], and one entry of `pieces` for each `SMALL_FRAME_BYTES`
/// of data.
///
/// A [`Position`] stays valid when `tail` becomes a piece: the new piece gets the index that the
/// position already has, which is one after the last piece.
#[derive(Default)]
struct KeptData {
    /// Each is at least [`SMALL_FRAME_BYTES`] long, unless it is the whole body.
    pieces: Vec<Bytes>,
    /// Collects small frames until they are long enough for a piece.
    tail: Vec<u8>,
}

/// How far a reader has read in [`KeptData`].
#[derive(Clone, Copy, Default)]
struct Position {
    /// The index in `pieces`; one after the last piece stands for `tail`.
    piece: usize,
    offset: usize,
}

impl KeptData {
    /// Adds a frame. `is_whole` is true if the frame is the whole body.
    fn push(&mut self, data: &Bytes, is_whole: bool) {
        // A large frame behind a tail is copied too: otherwise it would overtake the tail.
        if self.tail.is_empty() && (is_whole || data.len() >= SMALL_FRAME_BYTES) {
            self.pieces.push(data.clone());
            return;
        }
        let len = self.tail.len() + data.len();
        if len > self.tail.capacity() {
            // Doubles the capacity to bound the number of copies, but never beyond one piece,
            // because unused capacity does not count against the cap.
            let capacity = (self.tail.capacity() * 2).min(SMALL_FRAME_BYTES).max(len);
            self.tail.reserve_exact(capacity - self.tail.len());
        }
        self.tail.extend_from_slice(data);
        if len >= SMALL_FRAME_BYTES {
            // A boxed slice has no unused capacity.
            let piece = std::mem::take(&mut self.tail).into_boxed_slice();
            self.pieces.push(piece.into());
        }
    }

    fn end(&self) -> Position {
        Position { piece: self.pieces.len(), offset: self.tail.len() }
    }

    /// Returns the data at `position` and advances it; `None` at the end of what is kept.
    fn next(&self, position: &mut Position) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get(position.piece) {
            // The offset is not 0 if the reader has read a part of the tail that has become this
            // piece.
            let rest = piece.slice(position.offset.min(piece.len())..);
            *position = Position { piece: position.piece + 1, offset: 0 };
            if !rest.is_empty() {
                return Some(rest);
            }
        }
        let rest = self.tail.get(position.offset..).filter(|rest| !rest.is_empty())?;
        position.offset = self.tail.len();
        Some(Bytes::copy_from_slice(rest))
    }

    /// Returns the number of bytes after `position`.
    fn remaining(&self, position: Position) -> usize {
        let pieces = self.pieces.iter().skip(position.piece).map(Bytes::len).sum::<usize>();
        (pieces + self.tail.len()).saturating_sub(position.offset)
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }
}

/// Returns what trailers count against the cap.
fn trailers_cost(trailers: &HeaderMap) -> usize {
    let fields = trailers.iter();
    fields.map(|(name, value)| name.as_str().len() + value.len() + TRAILER_COST).sum()
}

/// One attempt's view of the body.
pub(super) struct Reader<B> {
    buffer: Arc<Mutex<ReplayBuffer<B>>>,
    pub(super) retry_safety: RetrySafety,
    /// 0 is the first attempt; copies count from 1.
    number: u64,
    position: Position,
    trailers_read: bool,
    /// Continues to read the source although the beginning of the body is lost. At most one reader
    /// does, and it has read all that was kept.
    owns_source: bool,
}

/// Why an attempt cannot continue: the frames that it has not read are not kept.
const LOST: &str =
    "the beginning of the request body is not kept: the body exceeds the replay cap, or has failed";

impl<B> Reader<B> {
    pub(super) fn new(body: B, retry_safety: RetrySafety, cap: usize) -> Self {
        let buffer = ReplayBuffer {
            source: Some(Box::pin(body)),
            kept: KeptData::default(),
            trailers: None,
            size: 0,
            cap,
            lost: false,
            first_needs_source: true,
            waiting: Vec::new(),
            next_number: 1,
        };
        Self::at_start(Arc::new(Mutex::new(buffer)), retry_safety, 0)
    }

    fn at_start(
        buffer: Arc<Mutex<ReplayBuffer<B>>>,
        retry_safety: RetrySafety,
        number: u64,
    ) -> Self {
        let position = Position::default();
        Self { buffer, retry_safety, number, position, trailers_read: false, owns_source: false }
    }

    /// Returns a copy that reads from the beginning, or `None` if the beginning is not kept.
    pub(super) fn copy_at_start(&self) -> Option<Self> {
        let mut buffer = lock(&self.buffer);
        if buffer.lost {
            return None;
        }
        let number = buffer.next_number;
        buffer.next_number += 1;
        Some(Self::at_start(Arc::clone(&self.buffer), self.retry_safety, number))
    }

    fn is_first(&self) -> bool {
        self.number == 0
    }

    #[cfg(test)]
    pub(super) fn is_nothing_kept(&self) -> bool {
        lock(&self.buffer).kept.is_empty()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let buffer = lock(&self.buffer);
        let trailers_due = buffer.trailers.is_some() && !self.trailers_read;
        buffer.source.is_none() && buffer.kept.remaining(self.position) == 0 && !trailers_due
    }
}

impl<B: Body> Reader<B> {
    pub(super) fn size_hint(&self) -> SizeHint {
        let buffer = lock(&self.buffer);
        let unread = buffer.kept.remaining(self.position) as u64;
        let source = buffer.source.as_ref();
        let rest = source.map_or_else(|| SizeHint::with_exact(0), |source| source.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(unread.saturating_add(rest.lower()));
        let upper = rest.upper().and_then(|upper| upper.checked_add(unread));
        // An exact size becomes `Content-Length`, after which HTTP/1.1 permits no trailers.
        if let (Some(upper), None) = (upper, &buffer.trailers) {
            hint.set_upper(upper);
        }
        hint
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> PollFrame<Bytes>
    where
        B::Error: Into<BoxError>,
    {
        let is_first = self.is_first();
        let mut guard = lock(&self.buffer);
        let buffer = &mut *guard;
        // What is kept comes first. Only a reader that has read all of it may poll the source.
        if let Some(data) = buffer.kept.next(&mut self.position) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if buffer.lost && !self.owns_source {
            if !(is_first && buffer.first_needs_source) {
                return Poll::Ready(Some(Err(LOST.into())));
            }
            // A copy exceeded the cap ahead of this attempt and has failed. This attempt has now
            // read what the copy left, so nothing is needed any more and it continues with the
            // source.
            buffer.kept = KeptData::default();
            (self.position, self.owns_source) = (Position::default(), true);
        }
        loop {
            let Some(source) = &mut buffer.source else {
                let trailers = if self.trailers_read { None } else { buffer.trailers.clone() };
                self.trailers_read = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let Poll::Ready(frame) = source.as_mut().poll_frame(cx) else {
                // The source now holds the waker of this reader only, so the other readers' wakers
                // stay in `waiting` until the reader that the source wakes has got a frame or is
                // dropped.
                match buffer.waiting.iter_mut().find(|(number, _)| *number == self.number) {
                    Some((_, waker)) => waker.clone_from(cx.waker()),
                    None => buffer.waiting.push((self.number, cx.waker().clone())),
                }
                return Poll::Pending;
            };
            // Asked before the frame is recorded: `record` needs to know whether it is the whole
            // body.
            if source.is_end_stream() {
                buffer.source = None;
            }
            buffer.wake_waiting();
            let frame = match frame {
                None => {
                    buffer.source = None;
                    continue;
                }
                Some(Err(error)) => {
                    // The reader that has got the error sees the end of the body after it. All
                    // others fail, because the rest of the body does not exist.
                    (buffer.source, buffer.lost, self.owns_source) = (None, true, true);
                    buffer.first_needs_source = false;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Some(Ok(frame)) => frame.map_data(to_bytes),
            };
            if frame.is_trailers() {
                (buffer.source, self.trailers_read) = (None, true);
            }
            // A new copy can only be made from an existing reader, so no other reader can appear
            // while the count is 1.
            let is_shared = Arc::strong_count(&self.buffer) > 1;
            match buffer.record(&frame, is_shared, is_first) {
                Recorded::Kept => self.position = buffer.kept.end(),
                Recorded::PassedOn => {
                    (self.position, self.owns_source) = (Position::default(), true);
                }
                Recorded::KeptForFirst => return Poll::Ready(Some(Err(LOST.into()))),
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

/// What [`ReplayBuffer::record`] has done with a frame.
enum Recorded {
    /// The frame is kept for the other readers.
    Kept,
    /// The frame is not kept. The reader passes it on and is the only one that can continue.
    PassedOn,
    /// The frame is kept for the first attempt only. The reader is a copy that exceeded the cap
    /// ahead of the first attempt, and fails.
    KeptForFirst,
}

impl<B> ReplayBuffer<B> {
    /// Records a frame that a reader has read from the source.
    fn record(&mut self, frame: &Frame<Bytes>, is_shared: bool, is_first: bool) -> Recorded {
        let cost = match (frame.data_ref(), frame.trailers_ref()) {
            // An empty frame needs no memory. It is not passed on to other readers.
            (Some(data), _) if data.is_empty() => return Recorded::Kept,
            (Some(data), _) => data.len(),
            (None, trailers) => trailers.map_or(0, trailers_cost),
        };
        self.size = self.size.saturating_add(cost);
        let fits = is_shared && !self.lost && self.size <= self.cap;
        // Beyond the cap one reader continues alone. It is the first attempt if that still exists:
        // a mirror or a hedge that reads faster must not break the attempt that it is a copy of.
        if !fits && (is_first || !self.first_needs_source) {
            (self.kept, self.lost) = (KeptData::default(), true);
            return Recorded::PassedOn;
        }
        if let Some(data) = frame.data_ref() {
            self.kept.push(data, self.kept.is_empty() && self.source.is_none());
        } else {
            self.trailers = frame.trailers_ref().cloned();
        }
        self.lost |= !fits;
        if fits { Recorded::Kept } else { Recorded::KeptForFirst }
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(|(_, waker)| waker.wake());
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        let mut buffer = lock(&self.buffer);
        if self.is_first() {
            buffer.first_needs_source = false;
        }
        // The source may hold the waker of this reader. Another one must poll the source in its
        // place.
        buffer.wake_waiting();
    }
}
