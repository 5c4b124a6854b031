use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{activity::Activity, version::PREFACE};

/// A connection of HTTP/2, inside of its encryption. It reports the bytes of requests and responses
/// to the [`Activity`]: a client that sends pings, and takes nothing of its response, is idle.
#[derive(Debug)]
pub(super) struct FrameMeter<I> {
    io: I,
    activity: Arc<Activity>,
    received: Frames,
    sent: Frames,
}

impl<I> FrameMeter<I> {
    pub(super) fn new(io: I, activity: Arc<Activity>) -> Self {
        let received = Frames { unread: PREFACE.len(), ..Frames::default() };
        Self { io, activity, received, sent: Frames::default() }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for FrameMeter<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if this.received.pass(&buf.filled()[before..]) {
            this.activity.has_received_request();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FrameMeter<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        if self.sent.pass(&buf[..written]) {
            self.activity.has_sent_response();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        let (mut left, mut has_message) = (written, false);
        for buf in bufs {
            let part = left.min(buf.len());
            has_message |= self.sent.pass(&buf[..part]);
            left -= part;
        }
        // Once for all parts: it reads the clock.
        if has_message {
            self.activity.has_sent_response();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Where one direction of a connection is in its frames.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    /// How many bytes of the head have passed.
    head_bytes: usize,
    /// The bytes of the payload that have not passed.
    unread: usize,
    is_of_message: bool,
}

/// A length of 3 bytes, a type, flags, and a stream of 4 bytes (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;

impl Frames {
    /// Follows the frames through `bytes`. Returns whether there is a byte of a message: all other
    /// frames can be sent without end, and have no effect. `CONTINUATION` is one of those; a head
    /// that needs it has begun with `HEADERS`.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_message = false;
        while !bytes.is_empty() {
            if self.unread > 0 {
                let passed = self.unread.min(bytes.len());
                self.unread -= passed;
                bytes = &bytes[passed..];
                has_message |= self.is_of_message;
                continue;
            }
            let passed = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..][..passed].copy_from_slice(&bytes[..passed]);
            self.head_bytes += passed;
            bytes = &bytes[passed..];
            if self.head_bytes == HEAD_BYTES {
                let [high, middle, low, kind, ..] = self.head;
                self.unread = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.is_of_message = matches!(kind, DATA | HEADERS);
                self.head_bytes = 0;
            }
        }
        has_message
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = vec![high, middle, low, kind, 0, 0, 0, 0, 1];
        // Bytes that would be the head of DATA at a wrong place.
        frame.resize(HEAD_BYTES + length, 0);
        frame
    }

    #[test]
    fn data_and_headers_are_messages_if_they_have_a_byte() {
        for kind in 0..=10 {
            let is_message = kind <= 1;
            assert_eq!(Frames::default().pass(&frame(kind, 1)), is_message, "{kind}");
            assert!(!Frames::default().pass(&frame(kind, 0)), "{kind}");
        }
        let mut received = Frames { unread: PREFACE.len(), ..Frames::default() };
        assert!(!received.pass(PREFACE));
        assert!(received.pass(&frame(HEADERS, 300)));
    }

    proptest! {
        /// The bytes of messages are found wherever reads and writes divide the frames.
        #[test]
        fn frames_are_followed_through_any_pieces(
            frames in prop::collection::vec((0u8..10, 0usize..40), 1..20),
            piece in 1usize..50,
        ) {
            let (mut bytes, mut is_message) = (Vec::new(), Vec::new());
            for (kind, length) in frames {
                bytes.extend(frame(kind, length));
                is_message.extend([false; HEAD_BYTES]);
                is_message.resize(bytes.len(), kind <= 1);
            }
            let mut follower = Frames::default();
            for (bytes, is_message) in bytes.chunks(piece).zip(is_message.chunks(piece)) {
                prop_assert_eq!(follower.pass(bytes), is_message.contains(&true));
            }
        }
    }
}
