use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::{BoxError, retry::Safety};

/// No copy if it is `Bytes` already.
pub(super) fn to_bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// What has been read of a body, and the rest of it.
pub(super) struct Tape<B> {
    /// `None` at the end.
    source: Option<Pin<Box<B>>>,
    pub(super) frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    cap: usize,
    /// The beginning is not kept any more, or the source has failed.
    lost: bool,
    /// The first attempt still needs what comes.
    first_reads: bool,
    /// Of readers that wait for the source, which itself wakes the last of them only.
    waiting: Vec<Waker>,
}

/// One attempt's place on the tape.
pub(super) struct Reader<B> {
    tape: Arc<Mutex<Tape<B>>>,
    pub(super) safety: Safety,
    /// How many frames it has read.
    next: usize,
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
    pub(super) fn new(body: B, safety: Safety, cap: usize) -> Self {
        let tape = Tape {
            source: Some(Box::pin(body)),
            frames: Vec::new(),
            trailers: None,
            size: 0,
            cap,
            lost: false,
            first_reads: true,
            waiting: Vec::new(),
        };
        Self::at_start(Arc::new(Mutex::new(tape)), safety, true)
    }

    fn at_start(tape: Arc<Mutex<Tape<B>>>, safety: Safety, is_first: bool) -> Self {
        Self { tape, safety, next: 0, trailers_read: false, is_first, live: false }
    }

    pub(super) fn rewound(&self) -> Option<Self> {
        let lost = self.lock().lost;
        (!lost).then(|| Self::at_start(Arc::clone(&self.tape), self.safety, false))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tape<B>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_end(&self, tape: &Tape<B>) -> bool {
        let trailers_due = tape.trailers.is_some() && !self.trailers_read;
        tape.source.is_none() && self.next >= tape.frames.len() && !trailers_due
    }
}

impl<B: Body> Reader<B> {
    pub(super) fn size_hint(&self) -> SizeHint {
        let tape = self.lock();
        let unread = tape.frames.iter().skip(self.next).map(Bytes::len).sum::<usize>() as u64;
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
        if let Some(data) = tape.frames.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if tape.lost && !self.live {
            if !(self.is_first && tape.first_reads) {
                return Poll::Ready(Some(Err(Lost.into())));
            }
            // A copy went beyond the cap and has failed. This one has read what that left.
            (tape.frames, self.next, self.live) = (Vec::new(), 0, true);
        }
        loop {
            let Some(source) = &mut tape.source else {
                let trailers = if self.trailers_read { None } else { tape.trailers.clone() };
                self.trailers_read = true;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let Poll::Ready(frame) = source.as_mut().poll_frame(cx) else {
                if !tape.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    tape.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            };
            if source.is_end_stream() {
                tape.source = None;
            }
            tape.waiting.drain(..).for_each(Waker::wake);
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
            let not_data = match frame.into_data() {
                Ok(data) => {
                    let data = to_bytes(data);
                    if data.is_empty() {
                        // Nothing to keep, however many there are.
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    tape.size = tape.size.saturating_add(data.len());
                    let wanted = Arc::strong_count(&self.tape) > 1 && !tape.lost;
                    if wanted && tape.size <= tape.cap {
                        tape.frames.push(data.clone());
                        self.next += 1;
                    } else if tape.first_reads && !self.is_first {
                        tape.frames.push(data);
                        tape.lost = true;
                        return Poll::Ready(Some(Err(Lost.into())));
                    } else {
                        tape.frames = Vec::new();
                        (tape.lost, self.live, self.next) = (true, true, 0);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Err(frame) => frame,
            };
            if let Ok(trailers) = not_data.into_trailers() {
                (tape.source, tape.trailers) = (None, Some(trailers));
            }
        }
    }
}

impl<B> Drop for Reader<B> {
    /// The source would have woken this one, perhaps.
    fn drop(&mut self) {
        let mut tape = self.lock();
        if self.is_first {
            tape.first_reads = false;
        }
        tape.waiting.drain(..).for_each(Waker::wake);
    }
}
