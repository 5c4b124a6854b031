use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::{BoxError, retry::RetrySafety};

/// No copy if it is `Bytes` already.
pub(super) fn to_bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// Frames shorter than this are copied, one behind the other, so that a frame of one byte costs one byte
/// and not a handle and whatever buffer it is a part of.
const SMALL_FRAME: usize = 8 << 10;
/// What a trailer field counts beside its name and its value: more than its entry in a `HeaderMap`.
pub(super) const TRAILER_COST: usize = 128;

/// What has been read of a body, and the rest of it.
pub(super) struct ReplayBuffer<B> {
    /// `None` at the end.
    source: Option<Pin<Box<B>>>,
    kept: Kept,
    trailers: Option<HeaderMap>,
    /// Bytes that have been read, and the cost of the trailers.
    size: usize,
    cap: usize,
    /// The beginning is not kept any more, or the source has failed.
    lost: bool,
    /// The first attempt still needs what comes.
    first_reads: bool,
    /// Of readers that wait for the source, which itself wakes the last of them only. By the number of
    /// the reader, so that one that is polled by many tasks has one waker here.
    waiting: Vec<(u64, Waker)>,
    /// How many readers there were.
    readers: u64,
}

/// The data that is kept for other readers.
///
/// It takes one byte for each byte, and beside that the room in `tail` that is not used yet (less than
/// [`SMALL_FRAME`]) and an entry of `pieces` for each `SMALL_FRAME` bytes. Where a reader is, is a
/// [`Position`]; it stays true when `tail` becomes a piece, which has its index then.
#[derive(Default)]
struct Kept {
    /// Each at least [`SMALL_FRAME`] long, unless it is the whole body.
    pieces: Vec<Bytes>,
    /// Small frames, until they are long enough for a piece.
    tail: Vec<u8>,
}

/// How far a reader has got.
#[derive(Clone, Copy, Default)]
struct Position {
    piece: usize,
    offset: usize,
}

impl Kept {
    /// Adds a frame; `is_whole` if it is the only one.
    fn push(&mut self, data: &Bytes, is_whole: bool) {
        if self.tail.is_empty() && (is_whole || data.len() >= SMALL_FRAME) {
            self.pieces.push(data.clone());
            return;
        }
        let len = self.tail.len() + data.len();
        if len > self.tail.capacity() {
            // Twice as much as before, and not more than may be needed.
            let room = (self.tail.capacity() * 2).min(SMALL_FRAME).max(len);
            self.tail.reserve_exact(room - self.tail.len());
        }
        self.tail.extend_from_slice(data);
        if len >= SMALL_FRAME {
            // Without the room that is left.
            let piece = std::mem::take(&mut self.tail).into_boxed_slice();
            self.pieces.push(piece.into());
        }
    }

    fn end(&self) -> Position {
        Position { piece: self.pieces.len(), offset: self.tail.len() }
    }

    /// What comes next at this position, which moves on; `None` at the end.
    fn next(&self, at: &mut Position) -> Option<Bytes> {
        while let Some(piece) = self.pieces.get(at.piece) {
            let rest = piece.slice(at.offset.min(piece.len())..);
            *at = Position { piece: at.piece + 1, offset: 0 };
            if !rest.is_empty() {
                return Some(rest);
            }
        }
        let rest = self.tail.get(at.offset..).filter(|rest| !rest.is_empty())?;
        at.offset = self.tail.len();
        Some(Bytes::copy_from_slice(rest))
    }

    /// How many bytes come after this position.
    fn rest(&self, at: Position) -> usize {
        let pieces = self.pieces.iter().skip(at.piece).map(Bytes::len).sum::<usize>();
        (pieces + self.tail.len()).saturating_sub(at.offset)
    }

    /// Whether nothing is kept.
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }
}

/// What trailers count against the cap.
fn cost(trailers: &HeaderMap) -> usize {
    let fields = trailers.iter();
    fields.map(|(name, value)| name.as_str().len() + value.len() + TRAILER_COST).sum()
}

/// One attempt's place on the tape.
pub(super) struct Reader<B> {
    tape: Arc<Mutex<ReplayBuffer<B>>>,
    pub(super) retry_safety: RetrySafety,
    number: u64,
    /// How far it has read.
    at: Position,
    trailers_read: bool,
    /// The first attempt's, before all copies.
    is_first: bool,
    /// Goes on with the source, although the tape is lost.
    live: bool,
}

/// Why an attempt can't go on with the body that another has used up.
#[derive(Debug)]
struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the beginning of the request's body is not kept any more")
    }
}

impl std::error::Error for Lost {}

impl<B> Reader<B> {
    pub(super) fn new(body: B, retry_safety: RetrySafety, cap: usize) -> Self {
        let tape = ReplayBuffer {
            source: Some(Box::pin(body)),
            kept: Kept::default(),
            trailers: None,
            size: 0,
            cap,
            lost: false,
            first_reads: true,
            waiting: Vec::new(),
            readers: 1,
        };
        Self::at_start(Arc::new(Mutex::new(tape)), retry_safety, 0)
    }

    fn at_start(tape: Arc<Mutex<ReplayBuffer<B>>>, retry_safety: RetrySafety, number: u64) -> Self {
        let (at, is_first) = (Position::default(), number == 0);
        Self { tape, retry_safety, number, at, trailers_read: false, is_first, live: false }
    }

    pub(super) fn rewound(&self) -> Option<Self> {
        let mut tape = self.lock();
        if tape.lost {
            return None;
        }
        let number = tape.readers;
        tape.readers += 1;
        drop(tape);
        Some(Self::at_start(Arc::clone(&self.tape), self.retry_safety, number))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ReplayBuffer<B>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn is_nothing_kept(&self) -> bool {
        self.lock().kept.is_empty()
    }

    pub(super) fn is_end(&self, tape: &ReplayBuffer<B>) -> bool {
        let trailers_due = tape.trailers.is_some() && !self.trailers_read;
        tape.source.is_none() && tape.kept.rest(self.at) == 0 && !trailers_due
    }
}

impl<B: Body> Reader<B> {
    pub(super) fn size_hint(&self) -> SizeHint {
        let tape = self.lock();
        let unread = tape.kept.rest(self.at) as u64;
        let rest =
            tape.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |rest| rest.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(unread.saturating_add(rest.lower()));
        let upper = rest.upper().and_then(|upper| upper.checked_add(unread));
        // HTTP/1 has no trailers after a body whose length is told.
        if let (Some(upper), None) = (upper, &tape.trailers) {
            hint.set_upper(upper);
        }
        hint
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B::Error: Into<BoxError>,
    {
        let mut guard = self.tape.lock().unwrap_or_else(PoisonError::into_inner);
        let tape = &mut *guard;
        if let Some(data) = tape.kept.next(&mut self.at) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if tape.lost && !self.live {
            if !(self.is_first && tape.first_reads) {
                return Poll::Ready(Some(Err(Lost.into())));
            }
            // A copy went beyond the cap and has failed. This one has read what that left.
            (tape.kept, self.at, self.live) = (Kept::default(), Position::default(), true);
        }
        loop {
            let Some(source) = &mut tape.source else {
                let trailers = if self.trailers_read { None } else { tape.trailers.clone() };
                self.trailers_read = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let Poll::Ready(frame) = source.as_mut().poll_frame(cx) else {
                match tape.waiting.iter_mut().find(|(number, _)| *number == self.number) {
                    Some((_, waker)) => waker.clone_from(cx.waker()),
                    None => tape.waiting.push((self.number, cx.waker().clone())),
                }
                return Poll::Pending;
            };
            if source.is_end_stream() {
                tape.source = None;
            }
            tape.wake();
            let frame = match frame {
                None => {
                    tape.source = None;
                    continue;
                }
                Some(Err(error)) => {
                    (tape.source, tape.lost, self.live) = (None, true, true);
                    tape.first_reads = false;
                    return Poll::Ready(Some(Err(error.into())));
                }
                Some(Ok(frame)) => frame,
            };
            let frame = frame.map_data(to_bytes);
            if frame.is_trailers() {
                (tape.source, self.trailers_read) = (None, true);
            }
            let is_shared = Arc::strong_count(&self.tape) > 1;
            match tape.keep(&frame, is_shared, self.is_first) {
                Fate::Kept => self.at = tape.kept.end(),
                Fate::Passed => (self.at, self.live) = (Position::default(), true),
                Fate::Withheld => return Poll::Ready(Some(Err(Lost.into()))),
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

/// What becomes of a frame that a reader has read from the source.
enum Fate {
    /// It is kept for the other readers.
    Kept,
    /// The reader has it alone, and goes on alone.
    Passed,
    /// The reader is a copy that got ahead of the first attempt and beyond the cap. The frame is kept
    /// for the first attempt, and the copy fails.
    Withheld,
}

impl<B: Body> ReplayBuffer<B> {
    fn keep(&mut self, frame: &Frame<Bytes>, is_shared: bool, is_first: bool) -> Fate {
        let cost = match (frame.data_ref(), frame.trailers_ref()) {
            // Nothing to keep, however many there are.
            (Some(data), _) if data.is_empty() => return Fate::Kept,
            (Some(data), _) => data.len(),
            (None, trailers) => trailers.map_or(0, cost),
        };
        self.size = self.size.saturating_add(cost);
        let fits = is_shared && !self.lost && self.size <= self.cap;
        if !fits && (is_first || !self.first_reads) {
            (self.kept, self.lost) = (Kept::default(), true);
            return Fate::Passed;
        }
        if let Some(data) = frame.data_ref() {
            self.kept.push(data, self.kept.is_empty() && self.source.is_none());
        } else {
            self.trailers = frame.trailers_ref().cloned();
        }
        self.lost |= !fits;
        if fits { Fate::Kept } else { Fate::Withheld }
    }
}

impl<B> ReplayBuffer<B> {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(|(_, waker)| waker.wake());
    }
}

impl<B> Drop for Reader<B> {
    /// The source would have woken this one, perhaps.
    fn drop(&mut self) {
        let mut tape = self.lock();
        if self.is_first {
            tape.first_reads = false;
        }
        tape.wake();
    }
}
